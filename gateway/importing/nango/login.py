"""[auth] of the providers that speak OAuth 2.0: a login, a client's own credentials, a client that registers itself."""

from typing import Any

from gateway.importing.data import scalar, several, table, text
from gateway.importing.draft import Draft, literal
from gateway.importing.nango.entry import Entry
from gateway.importing.nango.fields import Fields
from gateway.importing.nango.tokens import lifetime, method
from gateway.importing.nango.urls import Urls
from gateway.importing.nango.values import Values
from gateway.importing.outcome import NotImportable
from gateway.policy.checks.auth import is_scope

_SEPARATORS = (" ", ",", "+", ";", ":", "|")
_FORMATS = ("form", "json", "query")
_JWT = {"client_assertion_type", "client_assertion"}


class Login:
    """How one provider gives tokens."""

    def __init__(self, entry: Entry, fields: Fields, values: Values, urls: Urls, draft: Draft) -> None:
        self._entry = entry
        self._data = entry.data
        self._fields = fields
        self._values = values
        self._urls = urls
        self._draft = draft

    def authorization_code(self) -> None:
        """OAUTH2: a login."""
        put = self._draft.put
        put("auth.grant", "authorization_code")
        put("auth.client_id", {"secret": "client_id"})
        put("auth.client_secret", {"secret": "client_secret"})
        self._authorize()
        self._token(client_auth=self._client_auth(("basic",)))
        self._refresh()
        found = text(self._data.get("alternate_access_token_response_path"))
        if found:
            self._draft.lack("a second token beside the first, or instead of it", found)

    def oauth1(self) -> None:
        """OAUTH1: a login, after which every request is signed."""
        put = self._draft.put
        put("auth.grant", "oauth1")
        put("auth.client_id", {"secret": "client_id"})
        put("auth.client_secret", {"secret": "client_secret"})
        for ours, theirs in (
            ("request_token", "request_url"),
            ("authorize", "authorization_url"),
            ("token", "token_url"),
        ):
            put(f"auth.{ours}.url", self._urls.read(text(self._data.get(theirs))))
            if not self._draft.get(f"auth.{ours}.url"):
                raise NotImportable(f"no {theirs}")
        put("auth.request_token.params", self._params(table(self._data.get("request_params")), ""))
        put("auth.authorize.params", self._login_params())
        put("auth.token.params", self._params(table(self._data.get("token_params")), ""))
        put("sign.scheme", "oauth1")
        if text(self._data.get("signature_method")) == "PLAINTEXT":
            self._draft.note("nango signs by PLAINTEXT, which is no signature; here HMAC-SHA1 signs.")
        self._draft.note("What others call scopes is a parameter of its own here: see [auth.authorize] params.")

    def registered_by_hand(self) -> None:
        """MCP_OAUTH2: a public client, which registers itself unless it is static."""
        self.authorization_code()
        where = text(self._data.get("registration_url"))
        if text(self._data.get("client_registration")) == "static":
            return
        self._draft.lack("a client that registers itself (RFC 7591): register one by hand", where)
        self._draft.policy["auth"].pop("client_secret", None)
        self._draft.put("auth.token.client_auth", "none")

    def client_credentials(self) -> None:
        """OAUTH2_CC: each person's own client."""
        if self._data.get("require_client_certificate") is True:
            self._certificate()
        self._draft.put("auth.grant", "client_credentials")
        way = text(self._data.get("token_request_auth_method"))
        self.own_client(secret=way != "private_key_jwt")
        self._token(client_auth={"basic": "basic", "private_key_jwt": "jwt"}.get(way, "body"))
        if way == "custom":
            self._draft.put("auth.token.names", {"client_id": "username", "client_secret": "password"})
        if way == "private_key_jwt":
            self._signed()
        if "oauth_scopes" in self._entry.config:
            self._draft.put("auth.token.params.scope", f"{{{{ {self._fields.use('oauth_scopes')} }}}}")
        scopes, separator = self._scopes(), self._separator()
        if scopes and not self._draft.get("auth.token.params.scope"):
            self._draft.put("auth.token.params.scope", separator.join(scopes))

    def own_client(self, *, secret: bool = True) -> None:
        """The client is the connecting person's own."""
        self._draft.put("auth.client_id", {"field": self._client_field("client_id", "Client ID")})
        if secret:
            self._draft.put("auth.client_secret", {"field": self._client_field("client_secret", "Client secret")})

    def _certificate(self) -> None:
        """A certificate and its key, which are two fields of nango's and one here."""
        words = "As PEM: the certificate with its chain, and its private key behind it."
        name = self._fields.own("certificate", label="Client certificate", help=words, secret=True)
        self._draft.note("nango asks for a certificate and its key apart; here one field has both.")
        self._draft.put("auth.certificate", {"field": name})

    def _client_field(self, key: str, label: str) -> str:
        if key not in self._entry.credentials:
            return self._fields.own(key, label=label, **({"secret": True} if key == "client_secret" else {}))
        name = self._fields.use(key, needed=True)
        if key == "client_secret":
            self._fields.make_secret(key)
        return name

    def _signed(self) -> None:
        """A signed statement instead of the secret (RFC 7523 §2.2); nango takes the key as a JWK, which has its id."""
        name = self._fields.use("client_private_key", needed=True)
        self._fields.make_secret("client_private_key")
        self._fields.row("client_private_key").update(label="Private key (PEM)", help="")
        key_id = self._fields.own("key_id", label="Key ID")
        self._draft.put("auth.assertion", {"key": {"field": name}, "key_id": f"{{{{ {key_id} }}}}"})
        self._draft.note(
            "The private key is asked for as PEM, and its id beside it; nango takes a JWK, which has both."
        )

    def _authorize(self) -> None:
        url = self._urls.read(text(self._data.get("authorization_url")))
        if not url:
            raise NotImportable("a login that begins at the provider, and not at a URL")
        if "?" in url:
            self._draft.note("The login URL has a query of its own, to which the parameters are added.")
        self._draft.put("auth.authorize.url", url)
        self._draft.put("auth.authorize.scopes", self._scopes())
        if (separator := self._separator()) != " ":
            self._draft.put("auth.authorize.scope_separator", separator)
        if self._data.get("disable_pkce") is True:
            self._draft.put("auth.authorize.pkce", "off")
        self._draft.put("auth.authorize.params", self._login_params())
        self._replacements()
        if fragment := text(self._data.get("authorization_url_fragment")):
            self._draft.put("auth.authorize.fragment", "/" + literal(fragment).lstrip("/"))
        if code := text(self._data.get("authorization_code_param_in_callback")):
            self._draft.put("auth.authorize.response.code", literal(code))

    def _login_params(self) -> dict[str, Any]:
        params: dict[str, Any] = {}
        for name, value in table(self._data.get("authorization_params")).items():
            if name == "response_type" and value == "code":
                continue
            is_nonce = name == "nonce" and "${" not in scalar(value)
            params[name] = "{{ request.random }}" if is_nonce else self._values.text(value, shown=True)
        return params

    def _replacements(self) -> None:
        """Read what nango replaces in the login URL: names of parameters, or one that is left out."""
        names: dict[str, str] = {}
        for old, new in table(self._data.get("authorization_url_replacements")).items():
            name, other = old.removesuffix("="), text(new).removesuffix("=")
            if other:
                names[name] = literal(other)
            else:
                self._draft.put(f"auth.authorize.params.{name}", False)
        self._draft.put("auth.authorize.names", names)
        if "state" in names:
            self._draft.put("auth.authorize.response.state", names["state"])

    def _token(self, *, client_auth: str) -> None:
        url = self._data.get("token_url")
        self._draft.put("auth.token.url", self._urls.read(text(table(url).get("OAUTH2")) or text(url)))
        if not self._draft.get("auth.token.url"):
            raise NotImportable("no token URL")
        self._draft.put("auth.token.client_auth", client_auth)
        form = text(self._data.get("body_format")) or "form"
        if form not in _FORMATS:
            raise NotImportable("a token request in another format", form)
        is_get = method(self._data, self._draft) == "GET"
        self._draft.put("auth.token.method", "GET" if is_get else None)
        self._draft.put("auth.token.format", "query" if is_get else form if form != "form" else None)
        lifetime(self._data, self._draft, "auth.token")
        grant = "client_credentials" if self._draft.get("auth.grant") == "client_credentials" else "authorization_code"
        self._draft.put("auth.token.params", self._params(table(self._data.get("token_params")), grant))
        headers = {
            name: self._values.text(value)
            for name, value in table(self._data.get("token_headers")).items()
            if name.lower() not in ("content-type", "accept")
        }
        self._draft.put("auth.token.headers", headers)

    def _params(self, written: dict[str, Any], grant: str) -> dict[str, Any]:
        return {
            name: self._values.text(value)
            for name, value in written.items()
            if (name, value) != ("grant_type", grant) and scalar(value)
        }

    def _refresh(self) -> None:
        if url := self._urls.read(text(self._data.get("refresh_url"))):
            self._draft.put("auth.refresh.url", url)
        others = table(self._data.get("refresh_token_params"))  # a key of another mode's, which some write here
        written = table(self._data.get("refresh_params")) or others
        sent = self._draft.get("auth.token.params") or {}
        if not written:
            if "grant_type" in sent:  # the login's; nango renews with its other parameters
                self._draft.put("auth.refresh.params", {**sent, "grant_type": "refresh_token"})
            return
        params = self._params(written, "refresh_token")
        if params != sent:
            self._draft.policy["auth"].setdefault("refresh", {})["params"] = params

    def _client_auth(self, basic: tuple[str, ...]) -> str:
        says = (self._data.get("token_request_auth_method"), self._data.get("authorization_method"))
        return "basic" if says[0] in basic or says[1] == "header" else "body"

    def _separator(self) -> str:
        written = self._data.get("scope_separator")
        separator = written if isinstance(written, str) and written else " "
        if separator not in _SEPARATORS:
            self._draft.lack("a separator of scopes that isn't known", separator)
            return " "
        return separator

    def _scopes(self) -> list[str]:
        scopes = several(self._data.get("default_scopes"))[:100]
        return [literal(scope) for scope in dict.fromkeys(scopes) if is_scope(scope)]
