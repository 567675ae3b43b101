"""What nango adds to calls: [inject], [sign], [limits] and [test] of a policy.

What a caller sends itself comes before nango's headers, so those without a credential are our defaults.
"""

import re
from typing import Any

from gateway.importing.data import scalar, several, table, text
from gateway.importing.draft import Draft, literal
from gateway.importing.nango.entry import Entry
from gateway.importing.nango.expression import Function, alternatives, arguments, references
from gateway.importing.nango.fields import Fields
from gateway.importing.nango.values import Values
from gateway.importing.outcome import NotImportable

_CREDENTIAL = ("accessToken", "apiKey", "credentials.", "assertionOption.", "clientId", "clientSecret")
_BEARER = "Bearer {{ access_token }}"
_SPELLED = {"authorization": "Authorization", "accept": "Accept", "content-type": "Content-Type"}
_ASKABLE = re.compile(r"version|^accept|^content|^user-agent", re.IGNORECASE)
"""Headers by which a caller says what it wants to have."""
_RETRY_AFTER = "retry-after"
_TESTS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")


class Calls:
    """What is added to one provider's calls."""

    def __init__(self, entry: Entry, fields: Fields, values: Values, draft: Draft) -> None:
        self._entry = entry
        self._fields = fields
        self._values = values
        self._draft = draft
        self._headers: dict[str, str] = {}
        self._defaults: dict[str, str] = {}

    def inject(self, *, has_token: bool) -> None:
        """Set what is added to every request; with a token and no header of nango's for it, it is a bearer token."""
        proxy = self._entry.proxy
        for name, value in table(proxy.get("headers")).items():
            self._header(name, scalar(value))
        shows_token = any("access_token" in value for value in self._headers.values())
        query = {literal(name): self._values.text(value) for name, value in table(proxy.get("query")).items()}
        if has_token and not shows_token and "Authorization" not in self._headers and "access_token" not in str(query):
            self._headers = {"Authorization": _BEARER, **self._headers}
        self._draft.put("inject.headers", self._headers)
        self._draft.put("inject.defaults", self._defaults)
        self._draft.put("inject.query", query)
        self._draft.put("inject.body", self._values.data(table(proxy.get("body"))))

    def basic(self) -> None:
        """Set RFC 7617's header where one of its parts is always the same; else the grant sends it."""
        username, password = self._fields.constant("username"), self._fields.constant("password")
        if username is None and password is None:
            for key in ("username", "password"):
                self._fields.use(key)
            self._fields.make_secret("password")
            return
        written = "${base64(${credentials.username}:${credentials.password})}"
        self._headers = {"Authorization": f"Basic {self._values.whole(written)}", **self._headers}
        self._fields.make_secret("username" if username is None else "password")

    @property
    def writes_authorization(self) -> bool:
        """Whether an Authorization of nango's own comes before that of the grant."""
        return any(name.lower() == "authorization" for name in table(self._entry.proxy.get("headers")))

    def _header(self, name: str, value: str) -> None:
        parts = self._values.parts(alternatives(value)[0])
        if len(parts) == 1 and isinstance(parts[0], Function) and parts[0].name == "awsSigV4":
            self._aws(parts[0].argument)
            return
        if name.lower() == "x-amz-date" and "awsSigV4" in str(self._entry.proxy.get("headers")):
            return  # the signature's own
        if name.lower() == "authorization" and "${" not in value:
            self._draft.lack("an Authorization header that is the same for everybody", value)
            return
        if name.lower() == "user-agent" and "nango" in value.lower() and not references(value):
            self._draft.note("nango's own User-Agent is left out: callers send theirs.")
            return
        spelled = _SPELLED.get(name.lower(), name)
        is_credential = any(word in value for word in _CREDENTIAL) or name.lower() == "authorization"
        written = self._values.text(value)
        is_theirs = "${connectionConfig." in value and "||" not in value and not _ASKABLE.search(name + value)
        comes_first = name.lower() == "user-agent"  # the one of nango's that does
        (self._headers if is_credential or is_theirs or comes_first else self._defaults)[spelled] = written

    def _aws(self, argument: str) -> None:
        """AWS Signature Version 4, from the function's arguments: key id, key, region, service, host."""
        written = arguments(argument)
        if len(written) < 4:  # noqa: PLR2004  nango's own rule
            raise NotImportable("a signature with too few arguments", argument[:80])
        names = ("access_key_id", "secret_access_key", "region", "service")
        sign = {"scheme": "aws4"} | {
            name: self._values.whole(value) for name, value in zip(names, written, strict=False)
        }
        self._draft.put("sign", sign)

    def limits(self) -> None:
        """Which header of a refusal says how long to wait."""
        retry = table(self._entry.proxy.get("retry"))
        for key, form in (("after", "seconds"), ("at", "at")):
            names = several(retry.get(key))
            if names and _RETRY_AFTER not in names:
                self._draft.put("limits.reset", {"header": literal(names[0]), "format": form})
                if len(names) > 1:
                    self._draft.note(f"Of several headers that say how long to wait, {literal(names[0])} is heeded.")
        if "in_body" in retry:
            self._draft.note("How long to wait after a rate limit stands in the answer's body, for the caller to read.")

    def test(self, base: str) -> None:
        """The call by which nango tries credentials."""
        verification = table(self._entry.proxy.get("verification"))
        endpoints = several(verification.get("endpoints"))
        if not endpoints or not base:
            return
        method = text(verification.get("method")).upper() or "GET"
        if method not in _TESTS:
            return
        try:
            test = self._test(verification, endpoints[0], method)
        except NotImportable as error:
            self._draft.lack("the call that tries a connection", str(error.lack))
            return
        self._draft.put("test", test)

    def _test(self, verification: dict[str, Any], endpoint: str, method: str) -> dict[str, Any]:
        path, _, query = endpoint.partition("?")
        injected = {name.lower() for name in table(self._entry.proxy.get("query"))}
        kept = [one for one in query.split("&") if one and one.partition("=")[0].lower() not in injected]
        path = "/" + path.lstrip("/") + ("?" + "&".join(kept) if kept else "")
        if "${apiKey}" in path or "${credentials.apiKey}" in path or "${credentials.password}" in path:
            raise NotImportable("its URL has the key in it")
        other = text(verification.get("base_url_override"))
        test: dict[str, Any] = {"method": method} if method != "GET" else {}
        test["url"] = self._values.text(other.rstrip("/") + path if other else path, shown=True)
        if other:
            self._draft.policy["allow"]["urls"].append(test["url"].partition("?")[0])
        headers = {}
        own = {name.lower() for name in table(self._entry.proxy.get("headers"))}
        for name, value in table(verification.get("headers")).items():
            if name.lower() == "content-type" and "form" in scalar(value):
                test["format"] = "form"
            elif name.lower() not in ("content-type", "user-agent") and name.lower() not in own:
                headers[_SPELLED.get(name.lower(), name)] = self._values.text(value, shown=True)
        if headers:
            test["headers"] = headers
        if isinstance(body := verification.get("data"), dict) and method not in ("GET", "HEAD"):
            test["body"] = self._values.data(body, shown=True)
        return test
