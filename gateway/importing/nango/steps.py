"""[auth] of the providers whose token requests have a shape of their own, or whose tokens are signed statements."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_plus

from gateway.importing.data import listed, table, text
from gateway.importing.draft import Draft, literal
from gateway.importing.nango.entry import Entry
from gateway.importing.nango.expression import Reference, alternatives
from gateway.importing.nango.fields import Fields
from gateway.importing.nango.tokens import lifetime, method
from gateway.importing.nango.urls import Urls
from gateway.importing.nango.values import Values
from gateway.importing.outcome import NotImportable

_BEARER_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_CLAIMS = {"iss": "issuer", "sub": "subject", "aud": "audience"}
_MADE = ("jti", "iat", "exp", "typ")  # the gateway's own


class Steps:
    """How one provider gives tokens."""

    def __init__(self, entry: Entry, fields: Fields, values: Values, urls: Urls, draft: Draft) -> None:
        self._entry = entry
        self._data = entry.data
        self._fields = fields
        self._values = values
        self._urls = urls
        self._draft = draft

    def two_step(self) -> None:
        """TWO_STEP: a request that the entry spells out, of the person's own credentials."""
        if self._data.get("token_response_headers"):
            raise NotImportable("a session that is kept in cookies")
        is_bearer = table(self._data.get("token_params")).get("grant_type") == _BEARER_GRANT and self._signs
        self._draft.put("auth.grant", "jwt_bearer" if is_bearer else "custom")
        if self._signs:
            self._assertion()
        self._request("auth.token", self._data, is_bearer=is_bearer)
        steps = list(map(table, listed(self._data.get("additional_steps"))))
        if len(steps) > 1:
            raise NotImportable("more than two token requests")
        if steps:
            self._request("auth.exchange", {"body_format": self._data.get("body_format"), **steps[0]})
        self._answer("auth.exchange" if steps else "auth.token")
        self._refresh()

    @property
    def _signs(self) -> bool:
        return bool(table(self._data.get("assertion")) or table(self._data.get("signature")))

    def _request(self, at: str, data: Mapping[str, Any], *, is_bearer: bool = False) -> None:
        form = text(data.get("body_format")) or "json"
        if form not in ("json", "form"):
            raise NotImportable("a token request in another format", form)
        written = text(data.get("token_url"))
        params = dict(table(data.get("token_params")))
        is_get = method(data, self._draft) == "GET"
        if is_get:
            written, _, query = written.partition("?")
            pairs = [pair.partition("=") for pair in query.split("&") if pair]
            params = {unquote_plus(name): value for name, _, value in pairs}
            self._draft.put(f"{at}.method", "GET")
        url = self._urls.read(written)
        if not url:
            raise NotImportable("no token URL")
        self._draft.put(f"{at}.url", url)
        if is_bearer:
            self._draft.put(f"{at}.client_auth", "none")  # what proves who asks is among the parameters
        self._draft.put(f"{at}.format", "query" if is_get else form if form != "form" else None)
        kept = {
            name: value for name, value in params.items() if not (is_bearer and name in ("grant_type", "assertion"))
        }
        self._draft.put(f"{at}.params", self._params(kept, form))
        self._draft.put(f"{at}.headers", self._headers(table(data.get("token_headers"))))

    def _params(self, written: dict[str, Any], form: str) -> dict[str, Any]:
        params: dict[str, Any] = {}
        for name, value in written.items():
            if value == "" or value is None:
                self._draft.lack("an empty parameter of the token request", name)
            elif value is False and form == "json":
                self._draft.lack("a parameter of the token request that is false", name)
            elif isinstance(value, dict | list):
                params[name] = self._values.data(value)
            else:
                params[name] = self._values.text(value)
        return params

    def _headers(self, written: dict[str, Any]) -> dict[str, str]:
        return {
            "Authorization" if name.lower() == "authorization" else name: self._values.text(value)
            for name, value in written.items()
            if name.lower() != "content-type"
        }

    def _answer(self, at: str) -> None:
        written = table(self._data.get("token_response"))
        response = {
            ours: literal(path)
            for ours, theirs in (
                ("access_token", "token"),
                ("refresh_token", "refresh_token"),
                ("expires_in", "token_expiration"),
            )
            if (path := text(written.get(theirs))) and path != ours
        }
        if not text(written.get("token")):
            raise NotImportable("a token that is the whole answer, which is no JSON")
        self._draft.put(f"{at}.response", response)
        if text(written.get("token_expiration")) and written.get("token_expiration_strategy") != "expireIn":
            self._draft.put(f"{at}.expires", "date")
        lifetime(self._data, self._draft, at)

    def _refresh(self) -> None:
        params = table(self._data.get("refresh_token_params"))
        headers = table(self._data.get("refresh_token_headers"))
        if not params and not headers:
            return
        if url := self._urls.read(text(self._data.get("refresh_url"))):
            self._draft.put("auth.refresh.url", url)
        refresh = self._draft.policy["auth"].setdefault("refresh", {})
        refresh["params"] = self._params(params, "json")
        if headers:
            refresh["headers"] = self._headers(headers)

    # Signed statements.

    def jwt(self) -> None:
        """JWT: the token is a statement that the person's key signs."""
        self._draft.put("auth.grant", "jwt")
        self._assertion()

    def _assertion(self) -> None:
        assertion = table(self._data.get("assertion"))
        if text(assertion.get("type")) == "saml":
            raise NotImportable("a signed SAML assertion")
        if assertion:
            key, seconds = text(assertion.get("key")), assertion.get("lifetimeInSeconds")
        else:
            assertion = table(self._data.get("token"))
            key, milliseconds = text(assertion.get("signing_key")), assertion.get("expires_in_ms")
            seconds = milliseconds // 1000 if isinstance(milliseconds, int) else None
        header, payload = table(assertion.get("header")), table(assertion.get("payload"))
        put = self._draft.put
        put("auth.assertion.algorithm", literal(text(header.get("alg"))) or "RS256")
        put("auth.assertion.key", {"field": self._key(key)})
        signature = table(self._data.get("signature"))
        if signature.get("protocol") == "HMAC" and signature.get("hmac_secret_encoding") != "utf8":
            put("auth.assertion.key_encoding", "hex")
        put("auth.assertion.key_id", self._values.text(header.get("kid")) if header.get("kid") else None)
        others = {name: value for name, value in header.items() if name not in ("alg", "kid", *_MADE)}
        put("auth.assertion.headers", {name: self._values.text(value) for name, value in others.items()})
        for name, ours in _CLAIMS.items():
            if payload.get(name):
                put(f"auth.assertion.{ours}", self._values.text(payload[name]))
        claims = {name: value for name, value in payload.items() if name not in (*_CLAIMS, *_MADE)}
        put("auth.assertion.claims", {name: self._values.data(value) for name, value in claims.items()})
        if isinstance(seconds, int):
            put("auth.assertion.lifetime", f"{seconds}s")

    def _key(self, written: str) -> str:
        """The field that has the key."""
        if len(alternatives(written)) > 1:
            raise NotImportable("a signing key that is made of two values", written)
        parts = self._values.parts(written)
        if len(parts) != 1 or not isinstance(parts[0], Reference):
            raise NotImportable("a signing key that is made of two values", written)
        name = self._values.path(parts[0].name)
        key = parts[0].name.rpartition(".")[2]
        if key in self._entry.credentials:
            self._fields.make_secret(key)
            self._fields.row(key).pop("pattern", None)  # a key may be wrapped in more ways than one
        return name

    # What nango knows by its own code.

    def installation(self) -> None:
        """APP: a GitHub App, whose key signs a statement that gives an installation's token."""
        put = self._draft.put
        put("auth.grant", "jwt_bearer")
        put("auth.client_id", {"secret": "client_id"})
        put(
            "auth.assertion",
            {"algorithm": "RS256", "key": {"secret": "private_key"}, "issuer": "{{ app.client_id }}", "lifetime": "9m"},
        )
        put("auth.token.url", self._urls.read(text(self._data.get("token_url"))))
        put("auth.token.client_auth", "none")
        put("auth.token.params", {})
        self._draft.policy["auth"]["token"] |= {
            "params": {"grant_type": False, "assertion": False},
            "headers": {"Authorization": "Bearer {{ assertion }}"},
            "response": {"access_token": "token", "expires_in": "expires_at"},
            "expires": "date",
        }
        self._draft.note(
            "The person types in the installation's id; nango sends them to the app's page and reads it there."
        )

    def aws(self) -> None:
        """AWS_SIGV4: keys that sign each request; nango gets them by assuming a role."""
        self._draft.lack("keys that are got by assuming a role (AWS STS); the person's own are asked for")
        self._draft.put("auth.grant", "api_key")
        self._fields.own("access_key_id", label="Access key ID")
        self._fields.own("secret_access_key", label="Secret access key", secret=True)
        sign = {"scheme": "aws4", "access_key_id": "{{ access_key_id }}"}
        sign["secret_access_key"] = "{{ secret_access_key }}"  # noqa: S105  a template
        names = {name: self._fields.use(name, shown=True, needed=True) for name in ("region", "service")}
        self._draft.put("sign", sign | {name: f"{{{{ {field} }}}}" for name, field in names.items()})

    def oauth1(self, *, realm: str) -> None:
        """TBA: each request is signed, with a token that the person brings."""
        self._draft.put("auth.grant", "api_key")
        for name in ("consumer_key", "consumer_secret", "token_id", "token_secret"):
            label = name.replace("_", " ").capitalize().replace(" id", " ID")
            self._fields.own(name, label=label, **({"secret": True} if name.endswith("secret") else {}))
        sign: dict[str, Any] = {"scheme": "oauth1", "consumer_key": "{{ consumer_key }}"}
        sign |= {"consumer_secret": "{{ consumer_secret }}", "token": "{{ token_id }}"}
        sign |= {"token_secret": "{{ token_secret }}", "algorithm": "sha256"}
        field = self._fields.use(realm, shown=True, needed=True)
        sign["realm"] = {"js": f"return context.fields.{field}.replace('-', '_').toUpperCase()"}
        self._draft.put("sign", sign)

    def bill(self) -> None:
        """BILL: a login that gives a session, beside which the developer's key goes with each request."""
        self._draft.put("auth.grant", "custom")
        for name in ("username", "password", "organization_id", "developer_key"):
            secret = {"secret": True} if name in ("password", "developer_key") else {}
            self._fields.own(name, label=name.replace("_", " ").capitalize(), **secret)
        params = {"username": "{{ username }}", "password": "{{ password }}"}
        params |= {"organizationId": "{{ organization_id }}", "devKey": "{{ developer_key }}"}
        self._draft.put(
            "auth.token",
            {
                "url": self._urls.read(text(self._data.get("token_url"))),
                "format": "json",
                "params": params,
                "response": {"access_token": "sessionId"},
                "default_ttl": "30m",
            },
        )
        self._draft.put("inject.headers", {"sessionId": "{{ access_token }}", "devKey": "{{ developer_key }}"})
