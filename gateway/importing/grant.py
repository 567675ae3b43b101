"""Policies from the list of the npm package grant, `config/oauth.json`: login and token URLs of OAuth providers.

The list says how one logs in, and not where the API is. `profile.json`, which stands beside it, has a URL that answers
who one is: its origin is allowed, and it is the policy's test. Whoever looks through the policy adds the rest.
"""

import re
from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from gateway.importing.data import Heeded, Table, line, read, several, table, text
from gateway.importing.draft import Draft, literal
from gateway.importing.outcome import Imported, Lack, NotImportable, Told, each, untold
from gateway.policy.load import APP

_SOURCE = "grant's oauth.json"
_SUBDOMAIN = "[subdomain]"
_BASIC = ("autodesk", "ebay", "fitbit", "homeaway", "hootsuite", "notion", "reddit", "trustpilot", "twitter2")
_SEPARATORS = (" ", ",", "+", ";", ":", "|")
_MOST = 20_000
_QUERY = {"auth.token.method": "GET", "auth.token.format": "query"}
_PATCHES: Mapping[str, Mapping[str, Any]] = {
    "concur": {"auth.token.format": "query", "auth.token.params": {"grant_type": False, "redirect_uri": False}},
    "basecamp": {"auth.authorize.params.type": "web_server", "auth.token.params.type": "web_server"},
    "freelancer": {"auth.authorize.names.scope": "advanced_scopes"},
    "notion": {"auth.token.format": "json"},
    "optimizely": {"auth.authorize.names.scope": "scopes"},
    "qq": _QUERY,
    "tiktok": {"auth.authorize.names.client_id": "client_key", "auth.token.names.client_id": "client_key"},
    "twitter2": {"auth.authorize.pkce": "S256"},
    "untappd": {**_QUERY, "auth.token.params": {"grant_type": False, "response_type": "code"}},
    "visualstudio": {
        "auth.authorize.params.response_type": "Assertion",
        "auth.token.names": {"code": "assertion", "client_secret": "client_assertion"},
        "auth.token.params": {
            "client_id": False,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        },
    },
    "wechat": {
        **_QUERY,
        "auth.authorize.names.client_id": "appid",
        "auth.token.names": {"client_id": "appid", "client_secret": "secret"},
    },
    "withings": {
        "auth.token.params.action": "requesttoken",
        "auth.token.response": {
            name: f"body.{name}" for name in ("access_token", "refresh_token", "expires_in", "scope", "token_type")
        },
    },
}
"""What grant does by its own code, in the policy's keys."""
_OWN_LOGIN: Mapping[str, str] = {
    "getpocket": "a login that isn't OAuth 1.0a's",
    "goodreads": "a login of OAuth 1.0, before 1.0a had a verifier",
    "tripit": "a login of OAuth 1.0, before 1.0a had a verifier",
}
"""What is called OAuth 1.0a in the list and isn't."""
_LACKS: Mapping[str, str] = {
    "freshbooks": "a signature by PLAINTEXT, which is none; here HMAC-SHA1 signs",
    "smartsheet": "a token request that is signed",
    "surveymonkey": "a key of the app's in the token URL",
}


def from_grant(document: str, profiles: str = "{}", only: Collection[str] = (), told: Told = untold) -> list[Imported]:
    """Return what comes of each provider, in the list's order; `only` those names, if any are given.

    Raises `FileInvalid` where a text is no such list.
    """
    known = {name: text(table(one).get("profile_url")) for name, one in read(profiles).items()}
    chosen = [(name, table(one)) for name, one in islice(read(document).items(), _MOST) if not only or name in only]
    return each(chosen, lambda one: _imported(*one, known.get(one[0], "")), told)


def _imported(name: str, written: Table, profile: str) -> Imported:
    data = Heeded(written)
    kind = {1: "OAuth 1.0a", 2: "OAuth 2.0"}.get(_number(data.get("oauth")), "none named")
    if not APP.fullmatch(name):
        why = Lack("a name that no file and no app can have", line(name, 80))
        return Imported(name=line(name, 80), kind=kind, lacks=(why,))
    draft = Draft(name, kind, _SOURCE)
    try:
        _Provider(draft, data, profile).convert()
    except NotImportable as error:
        return draft.refused(error)
    return draft.finished()


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


class _Provider:
    def __init__(self, draft: Draft, data: Heeded, profile: str) -> None:
        self.draft = draft
        self.data = data
        self.profile = "" if "{" in profile else profile
        names = ("request_url", "authorize_url", "access_url")
        written = [*(text(data.get(name)) for name in names), self.profile]
        self.is_whole_host = any(urlsplit(_plain(url)).netloc == "subdomain" for url in written if url)
        self.has_subdomain = any(_SUBDOMAIN in url for url in written)

    def convert(self) -> None:
        put, name = self.draft.put, self.draft.name
        put("name", name.replace("_", " ").replace("-", " ").capitalize())
        self.draft.policy["allow"] = {"urls": self._allowed()}
        self._fields()
        if self.draft.kind == "OAuth 1.0a":
            self._brought(_OWN_LOGIN[name]) if name in _OWN_LOGIN else self._signed_login()
        elif self.draft.kind == "OAuth 2.0":
            self._login()
        else:
            raise NotImportable("a kind of authentication that isn't known here", line(str(self.data.get("oauth")), 20))
        self._rest()
        if self.profile:
            put("test.url", self._url(self.profile))
        self.draft.note("The list has no URL of the API itself: add those that are needed to allow.urls.")
        if what := _LACKS.get(name):
            self.draft.lack(what)
        for path, value in _PATCHES.get(name, {}).items():
            put(path, value)

    def _rest(self) -> None:
        """Say what the entry has that nothing here heeds: somebody's own list may have any of grant's keys."""
        own = self.data.get("custom_parameters")
        if own and not several(own):
            self.draft.lack("parameters of the login that are no list of names")
        elif own:
            named = line(", ".join(several(own)))
            self.draft.note(f"A caller of grant's may add {named} to the login: see [auth.authorize] params.")
        for key in self.data.unheeded():
            if key == "scope_delimiter":  # OAuth 1.0a has no scopes, and the note says so
                continue
            self.draft.lack("a key of the list that isn't heeded here", line(key, 100))

    def _allowed(self) -> list[str]:
        found = [self._origin(url) for url in (self.profile, text(self.data.get("access_url"))) if url]
        return found[:1]

    def _fields(self) -> None:
        field: dict[str, Any] = {"name": "server" if self.is_whole_host else "subdomain"}
        if self.is_whole_host:
            field |= {"label": "Server", "kind": "url", "example": "https://login.example.com"}
        own = [field] if self.has_subdomain else []
        if self.is_whole_host:  # the app's own secret goes to no host that somebody chooses
            own += [{"name": "client_id", "label": "Client ID"}]
            own += [{"name": "client_secret", "label": "Client secret", "secret": True}]
        self.draft.put("fields", own)

    def _login(self) -> None:
        put, name = self.draft.put, self.draft.name
        source = "field" if self.is_whole_host else "secret"
        put("auth.grant", "authorization_code")
        put("auth.client_id", {source: "client_id"})
        put("auth.client_secret", {source: "client_secret"})
        put("auth.authorize.url", self._url(text(self.data.get("authorize_url"))))
        put("auth.authorize.pkce", "off")
        separator = self.data.get("scope_delimiter", ",")
        if separator not in _SEPARATORS:
            self.draft.lack("a separator of scopes that isn't known", line(separator))
        elif separator != " ":
            put("auth.authorize.scope_separator", separator)
        put("auth.token.url", self._url(text(self.data.get("access_url"))))
        method = text(self.data.get("token_endpoint_auth_method"))
        if method not in ("", "client_secret_basic", "client_secret_post", "private_key_jwt"):
            self.draft.lack("a way of the client to say who it is that isn't known", line(method, 60))
        if method == "private_key_jwt":
            raise NotImportable("a client that signs a statement, with a key that the list doesn't have")
        put("auth.token.client_auth", "basic" if name in _BASIC or method == "client_secret_basic" else "body")
        put("inject.headers", {"Authorization": "Bearer {{ access_token }}"})
        if self.data.get("pkce") is True:
            self.draft.drop("auth.authorize.pkce")

    def _signed_login(self) -> None:
        put, source = self.draft.put, "field" if self.is_whole_host else "secret"
        put("auth.grant", "oauth1")
        put("auth.client_id", {source: "client_id"})
        put("auth.client_secret", {source: "client_secret"})
        put("auth.request_token.url", self._url(text(self.data.get("request_url"))))
        put("auth.authorize.url", self._url(text(self.data.get("authorize_url"))))
        put("auth.token.url", self._url(text(self.data.get("access_url"))))
        put("sign.scheme", "oauth1")
        self.draft.note("What others call scopes is a parameter of its own here: see [auth.authorize] params.")

    def _brought(self, why: str) -> None:
        """Requests are signed with a token that the person brings."""
        self.draft.lack(f"{why}; the person brings a token and its secret")
        fields = self.draft.policy.setdefault("fields", [])
        known = {field["name"] for field in fields}
        for name in ("consumer_key", "consumer_secret", "token_id", "token_secret"):
            if name not in known:
                label = name.replace("_", " ").capitalize().replace(" id", " ID")
                fields.append({"name": name, "label": label} | ({"secret": True} if name.endswith("secret") else {}))
        self.draft.policy["fields"] = [field for field in fields if not field["name"].startswith("client_")]
        self.draft.put("auth.grant", "api_key")
        sign = {"scheme": "oauth1", "consumer_key": "{{ consumer_key }}", "consumer_secret": "{{ consumer_secret }}"}
        sign |= {"token": "{{ token_id }}", "token_secret": "{{ token_secret }}", "algorithm": "sha1"}
        self.draft.put("sign", sign)

    def _url(self, written: str) -> str:
        if not written:
            raise NotImportable("no URL for the login, or none for the token")
        if self.is_whole_host:
            return re.sub(r"https://\[subdomain\]", "{{ server }}", literal(written))
        return literal(written).replace(_SUBDOMAIN, "{{ subdomain }}")

    def _origin(self, written: str) -> str:
        url = self._url(written)
        if url.startswith("{{"):
            return "{{ server }}"
        return "/".join(url.split("/")[:3])


def _plain(url: str) -> str:
    return url.replace(_SUBDOMAIN, "subdomain")
