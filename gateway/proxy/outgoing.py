"""A request as it goes upstream: where to, with which fields, with what content.

Pure: what came from the caller and what the policy adds in, bytes or a `Refusal` out.
"""

from gateway.errors import Refusal
from gateway.http.request import RequestHead, forwarded_head
from gateway.http.target import Target, TargetInvalid, parse_target
from gateway.policy.inject import Injection
from gateway.policy.merge import BodyInvalid, merge_body, merge_query
from gateway.vault import Live

_HIDES_SECRETS = frozenset({b"accept-encoding", b"accept-charset", b"range", b"request-range", b"if-range"})
"""Fields that ask for an answer in which a secret would not be found: packed, as UTF-16, or cut in parts."""
_EXPECT = frozenset({b"expect"})


def behind_base_url(relative: str, live: Live) -> Target | Refusal:
    """Return the target of a path-style call without a host: what follows is put behind the policy's base URL."""
    if live.base_url is None:
        detail = f"The policy of {live.app} has no base_url, so a path alone leads nowhere."
        return Refusal(code="target_invalid", detail=detail, hint="Call /c/<connection>/https://host/path.")
    try:
        return parse_target(live.base_url.rstrip("/") + relative)
    except TargetInvalid as reason:
        return Refusal(code="target_invalid", detail=f"The target can't be used: {reason}.")


def rewritten_body(head: RequestHead, injection: Injection, body: bytes) -> bytes | Refusal:
    """Return the whole content with the policy's parameters in it."""
    if head.content_encoding not in {None, b"identity"}:
        detail = "The body is compressed, and parameters must be added to it."
        return Refusal(code="request_rejected", detail=detail, hint="Send it without Content-Encoding.")
    try:
        merged = merge_body(injection, head.content_type, body)
    except BodyInvalid as error:
        return Refusal(code="request_rejected", detail=f"The body can't take the policy's parameters: {error}.")
    return body if merged is None else merged


def body_too_large(limit: int) -> Refusal:
    """Refuse content that is too long to be rewritten."""
    detail = f"The policy adds parameters to the body, which may have {limit} bytes at most."
    return Refusal(code="request_too_large", detail=detail, hint="limits.rewrite_bytes in the configuration sets this.")


def outgoing_head(
    head: RequestHead,
    target: Target,
    live: Live,
    injection: Injection,
    *,
    drop: frozenset[bytes],
    body: bytes | None,
    upgrade: bytes | None,
    via: bytes,
) -> bytes:
    """Return the request line and the fields. `body` is the rewritten content, None: the caller's as it comes."""
    path, query = target.path, target.query
    if injection.query_suffix:
        query = merge_query(injection, query)
    names, lines = injection.header_names, injection.header_lines
    if drop:
        names |= drop
    if live.scrub_body:
        names, lines = names | _HIDES_SECRETS, lines + b"Accept-Encoding: identity\r\n"
    if body is not None and head.expects_continue:
        names |= _EXPECT
    return forwarded_head(
        head,
        request_target=path if query is None else f"{path}?{query}",
        authority=target.origin.authority,
        content_length=head.content_length if body is None else len(body),
        drop=names,
        injected=lines + via,
        upgrade=upgrade,
    )
