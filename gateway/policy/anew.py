"""What is made anew for each request: values that name it, and the signature over it.

In this order, so that a signature is over what leaves: the parameters of query and body, `{{ signature }}`, the
parameters that have it in them, the headers, and the headers that a scheme writes itself.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gateway.http.fields import Fields, folded_name
from gateway.policy.aws4 import Aws4, is_signed
from gateway.policy.header import encoded, header
from gateway.policy.injection import Injection
from gateway.policy.merge import is_form, merge_body, merge_query
from gateway.policy.oauth1 import OAuth1
from gateway.policy.request import CONTENT, RequestValues
from gateway.policy.sign import Hmac, Signer
from gateway.policy.template import Expression, Path
from gateway.policy.value import SIGNATURE, Bound, fill
from gateway.secret import Secret

_CONTENT_TYPE = b"content-type"


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What was made for one request.

    `headers` are all that the policy adds, of which `defaults` are those that the caller has not sent; `query` and
    `body` are whole as they leave (None: there is none, or it isn't rewritten), `parameters` and `members` what of them
    is the policy's. `secrets` are those of this request alone.
    """

    headers: Fields
    defaults: tuple[tuple[bytes, bytes], ...]
    query: str | None
    body: bytes | None
    parameters: tuple[tuple[bytes, bytes], ...]
    members: Mapping[str, Any]
    secrets: tuple[Secret, ...]

    @property
    def lines(self) -> bytes:
        """The headers as they are written."""
        return b"".join([b"%b: %b\r\n" % one for one in self.headers])


class Anew:
    """Makes it. Each table has the values that are bound; `signer` is that of [sign]."""

    __slots__ = ("_body", "_body_signed", "_content", "_defaults", "_headers", "_query", "_query_signed", "_signer")

    def __init__(
        self,
        *,
        headers: Mapping[str, Bound],
        defaults: Mapping[str, Bound],
        query: Mapping[str, Bound],
        body: Mapping[str, Any],
        signer: Signer | None,
    ) -> None:
        self._headers, self._defaults, self._signer = headers, defaults, signer
        self._query, self._query_signed = _parted(query)
        self._body, self._body_signed = _parted(body)
        text = signer.text if isinstance(signer, Hmac) else None
        named = {path[-1] for path in _paths([*headers.values(), *defaults.values(), text])}
        self._content = isinstance(signer, Aws4) or not named.isdisjoint(CONTENT)

    @property
    def makes_something(self) -> bool:
        """Whether there is anything to be made."""
        values = (self._headers, self._defaults, self._query, self._query_signed, self._body, self._body_signed)
        return self._signer is not None or any(values)

    def needs_content(self, content_type: bytes | None) -> bool:
        """Whether content of this type must be here whole."""
        return self._content or (isinstance(self._signer, OAuth1) and is_form(content_type))

    def is_signed(self, folded: bytes) -> bool:
        """Whether a field of the caller's is signed, if it leaves."""
        return isinstance(self._signer, Aws4) and is_signed(folded)

    def make(
        self,
        injection: Injection,
        request: RequestValues,
        *,
        fields: Fields,
        present: Collection[bytes],
        content_type: bytes | None,
        has_content: bool,
    ) -> Made:
        """Make all of it for a request as the caller sent it.

        `present` are the names of its fields that leave, folded; `fields` those of them that are signed;
        `content_type` what its content is taken for. Raises `InjectionInvalid`, `BodyInvalid`, and other `ValueError`s
        where a value can't be sent.
        """
        made = self._merge(injection, request, content_type, self._query, self._body)
        secrets: list[str] = []
        if isinstance(self._signer, Hmac):
            request.signature = self._signer.signature(request)
            secrets.append(request.signature)
        if self._query_signed or self._body_signed:
            bare = Injection()
            last = self._merge(bare, request, content_type, self._query_signed, self._body_signed)
            made = replace(made, query=(*made.query, *last.query), body={**made.body, **last.body})
        headers = [*injection.headers, *self._filled(self._headers, request, "headers")]
        defaults = tuple(
            one
            for one in (*injection.defaults, *self._filled(self._defaults, request, "defaults"))
            if (name := folded_name(one[0])) not in present and (has_content or name != _CONTENT_TYPE)
        )
        headers += defaults
        if isinstance(self._signer, Aws4 | OAuth1):
            if isinstance(self._signer, OAuth1) and content_type is not None:
                fields = [(b"Content-Type", content_type)]
            ours, signature = self._signer.fields(request, [*fields, *headers])
            headers += ours
            secrets.append(signature)
        return Made(
            headers=headers,
            defaults=defaults,
            query=request.target.query,
            body=request.body if has_content else None,
            parameters=made.query,
            members=made.body,
            secrets=tuple(map(Secret, secrets)),
        )

    def _merge(
        self,
        injection: Injection,
        request: RequestValues,
        content_type: bytes | None,
        query: Mapping[str, Bound],
        body: Mapping[str, Any],
    ) -> Injection:
        """Put parameters into the query and the content, beside what `injection` has of them; return both."""
        texts = [(name, value.render(request)) for name, value in query.items()]
        members = {name: fill(value, request) for name, value in body.items()}
        if texts or members:
            parameters = tuple((encoded(name), encoded(text)) for name, text in texts if text)
            injection = Injection(
                query=(*injection.query, *parameters),
                query_names=injection.query_names,
                body={**injection.body, **{name: value for name, value in members.items() if value != ""}},
                body_names=injection.body_names,
            )
        if injection.query_keys:
            request.target = replace(request.target, query=merge_query(injection, request.target.query))
        if injection.body_keys:
            merged = merge_body(injection, content_type, request.body)
            request.body = request.body if merged is None else merged
        return injection

    def _filled(self, values: Mapping[str, Bound], request: RequestValues, at: str) -> Iterator[tuple[bytes, bytes]]:
        for name, value in values.items():
            text = value.render(request)
            if text.strip():
                yield header(name, text, f"inject.{at}.{name}")


def _parted(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values without the signature in them, and those with it."""
    signed = {name for name, value in values.items() if (SIGNATURE,) in _paths([value])}
    return (
        {name: value for name, value in values.items() if name not in signed},
        {name: value for name, value in values.items() if name in signed},
    )


def _paths(value: Any) -> Iterator[Path]:
    """Yield what is still to be filled into a value."""
    match value:
        case Bound(parts):
            for part in parts:
                if isinstance(part, Expression):
                    yield from part.paths
        case dict():
            for item in value.values():
                yield from _paths(item)
        case list():
            for item in value:
                yield from _paths(item)


NOTHING = Anew(headers={}, defaults={}, query={}, body={}, signer=None)
"""Makes no more of a request than the injection has: for who sends few, and all of them in one way."""
