"""One provider's entry as a policy."""

from collections.abc import Collection
from itertools import islice

from gateway.importing.data import line, read, table, text
from gateway.importing.draft import Draft
from gateway.importing.nango import known
from gateway.importing.nango.calls import Calls
from gateway.importing.nango.entry import Entry, entries
from gateway.importing.nango.fields import Fields
from gateway.importing.nango.login import Login
from gateway.importing.nango.shape import shapes
from gateway.importing.nango.steps import Steps
from gateway.importing.nango.unheeded import unheeded
from gateway.importing.nango.urls import Urls
from gateway.importing.nango.values import Values
from gateway.importing.outcome import Imported, Lack, NotImportable, Told, each, untold
from gateway.policy.load import APP

_SOURCE = "nango's providers.yaml"
_TOKEN_MODES = ("OAUTH2", "OAUTH2_CC", "MCP_OAUTH2", "TWO_STEP", "JWT", "APP", "CUSTOM", "BILL")
_CHOSEN = ("auth.token.url", "auth.refresh.url", "auth.exchange.url", "auth.revoke.url")
_ENDPOINT_ONLY = "where the API is: its file names no URL of it"
_MOST = 20_000  # providers; nango has a thousand


def from_nango(document: str, only: Collection[str] = (), told: Told = untold) -> list[Imported]:
    """Return what comes of each provider, in the list's order; `only` those names, if any are given.

    Raises `FileInvalid` where the text is no such list.
    """
    named = list(islice(entries(read(document)), _MOST))
    chosen = [entry for entry in named if not only or entry.name in only]
    return each(chosen, _imported, told)


def _imported(entry: Entry) -> Imported:
    kind = line(entry.mode, 30) or "none named"
    draft = Draft(entry.name, kind, _SOURCE)
    if not APP.fullmatch(entry.name):
        why = Lack("a name that no file and no app can have", line(entry.name, 80))
        return Imported(name=line(entry.name, 80), kind=kind, lacks=(why,))
    try:
        _Provider(entry, draft).convert()
    except NotImportable as error:
        return draft.refused(error)
    return draft.finished()


class _Provider:
    def __init__(self, entry: Entry, draft: Draft) -> None:
        entry.found |= known.FOUND.get(entry.name, {})
        found = shapes(entry)
        self.entry = entry
        self.draft = draft
        self.fields = Fields(entry, found, draft)
        self.values = Values(entry, self.fields, found, draft)
        self.urls = Urls(entry, self.fields, found, self.values, draft)
        self.login = Login(entry, self.fields, self.values, self.urls, draft)
        self.steps = Steps(entry, self.fields, self.values, self.urls, draft)
        self.calls = Calls(entry, self.fields, self.values, draft)

    def convert(self) -> None:
        draft, entry = self.draft, self.entry
        draft.put("name", line(entry.data.get("display_name"), 80) or entry.name)
        draft.put("allow.urls", [])
        draft.policy["allow"] = {"urls": []}
        if why := known.NOT.get(entry.name):
            raise NotImportable("what nango does by its own code", why)
        if entry.mode == "API_KEY" and table(entry.data.get("integration_config")):
            raise NotImportable("an API that whoever sets it up describes")
        self._authenticate()
        base = self._base()
        self.calls.inject(has_token=entry.mode in _TOKEN_MODES and entry.mode != "BILL")
        self.calls.limits()
        self.calls.test(base)
        known.apply(entry.name, draft, self.fields)
        self._margin()
        self._protect()
        self._script()
        self._rest()
        self._label()
        draft.put("fields", self.fields.rows())

    def _authenticate(self) -> None:  # noqa: C901, PLR0912  a table of nango's kinds
        put = self.draft.put
        match self.entry.mode:
            case "OAUTH2":
                self.login.authorization_code()
            case "OAUTH2_CC":
                self.login.client_credentials()
            case "MCP_OAUTH2":
                self.login.registered_by_hand()
            case "API_KEY":
                put("auth.grant", "api_key")
                self.fields.use("apiKey")
            case "BASIC":
                has_own = self.calls.writes_authorization
                put("auth.grant", "api_key" if has_own else "basic")
                if not has_own:
                    self.calls.basic()
            case "NONE":
                put("auth.grant", "none")
            case "TWO_STEP":
                self.steps.two_step()
            case "JWT":
                self.steps.jwt()
            case "APP":
                self.steps.installation()
            case "CUSTOM":
                self.draft.lack("a second credential beside the person's token: the app's own, of its installation")
                self.login.authorization_code()
            case "AWS_SIGV4":
                self.steps.aws()
            case "TBA":
                self.steps.oauth1(realm="accountId")
            case "OAUTH1":
                self.login.oauth1()
            case "BILL":
                self.steps.bill()
            case mode:
                raise NotImportable(_MODES.get(mode, "a kind of authentication that isn't known here"), mode)

    def _base(self) -> str:
        written = text(self.entry.proxy.get("base_url"))
        if "${apiKey}" in written or "${credentials." in written:
            raise NotImportable("a key in the path of every URL", written)
        base = self.urls.read(written)
        if not base:
            found = self.draft.get("auth.token.url")
            if not found:
                raise NotImportable(_ENDPOINT_ONLY)
            self.draft.lack(_ENDPOINT_ONLY)
            self.draft.policy["allow"]["urls"] = [self.urls.origin(found)]
            return ""
        self.draft.put("base_url", base.rstrip("/"))
        self.draft.policy["allow"]["urls"] = [self.urls.origin(base)]
        return base

    def _margin(self) -> None:
        if not self.draft.get("auth.token"):
            return
        seconds = self.entry.data.get("token_expiration_buffer")
        if isinstance(seconds, int) and seconds > 0:
            self.draft.put("auth.token.margin", f"{seconds}s")

    def _rest(self) -> None:
        """Say what the entry has that nothing here heeds: a newer list may have a key that matters."""
        if self.entry.mode == "API_KEY" and "api_key" not in str(self.draft.get("inject")):
            self.draft.lack("where the key goes: the entry doesn't say it")
        for key in self.fields.unused():
            self.draft.note(f"nango asks for {key}, too, for its own programs; nothing here needs it.")
        for path in unheeded(self.entry):
            self.draft.lack("a key of the list that isn't heeded here", line(path, 100))

    def _protect(self) -> None:
        """The app's own secret goes to no host that somebody chooses: there each person brings an own client."""
        if not isinstance(self.draft.get("auth.client_secret.secret"), str):
            return
        written = " ".join(filter(None, (self.draft.get(path) for path in _CHOSEN)))
        open_ends = [
            row["name"]
            for row in self.fields.rows()
            if row.get("kind") in ("host", "url") and not row.get("domains") and not row.get("choices")
        ]
        if any(f"{{{{ {name} }}}}" in written for name in open_ends):
            self.login.own_client()
            self.draft.note("The server is the person's own, and so are the client's id and secret.")

    def _script(self) -> None:
        if script := self.entry.script:
            if any(lack.what.startswith("a value that nango finds by a program") for lack in self.draft.lacks):
                return
            if self.entry.name in known.FOUND:
                return
            self.draft.note(f"nango runs {line(script, 60)} after connecting; nothing here needs what that finds.")
        if line(self.entry.data.get("credentials_verification_script"), 60) and not self.draft.get("test"):
            self.draft.note("nango tries a connection by a program of its own; add a [test].")

    def _label(self) -> None:
        """The first thing that tells one connection from another, where there is one."""
        for row in self.fields.rows():
            says_who = "from" not in row and not any(row.get(part) for part in ("secret", "choices", "hidden"))
            if says_who and row.get("required", True):
                self.draft.put("connection.label", f"{{{{ {row['name']} }}}}")
                return


_MODES = {
    "MCP_OAUTH2_GENERIC": "a login whose URLs are found at each server",
    "SIGNATURE": "a digest over time and a random number (WS-Security) in each request",
    "INSTALL_PLUGIN": "an installation at the provider's page, which is no OAuth",
}
