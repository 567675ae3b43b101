"""A request as it goes upstream: where to, with which fields, with what content.

Pure: what came from the caller and what the policy adds in, bytes or a `Refusal` out.
"""

from gateway.errors import Refusal
from gateway.http.request import RequestHead, forwarded_head
from gateway.http.target import Target, TargetInvalid, parse_target
from gateway.policy.anew import Anew, Made
from gateway.policy.header import HIDING, InjectionInvalid
from gateway.policy.injection import Injection
from gateway.policy.merge import BodyInvalid, merge_body, merge_query, mergeable
from gateway.policy.request import RequestValues
from gateway.vault import Live

_EXPECT = frozenset({b"expect"})
_CONTENT_TYPE = b"content-type"


def behind_base_url(relative: str, live: Live) -> Target | Refusal:
    """Return the target of a path-style call without a host: what follows is put behind the policy's base URL."""
    if live.base_url is None:
        detail = f"The policy of {live.app} has no base_url, so a path alone leads nowhere."
        return Refusal(code="target_invalid", detail=detail, hint="Call /c/<connection>/https://host/path.")
    try:
        return parse_target(live.base_url.rstrip("/") + relative)
    except TargetInvalid as reason:
        return Refusal(code="target_invalid", detail=f"The target can't be used: {reason}.")


def content_type_of(head: RequestHead, injection: Injection) -> bytes | None:
    """Return what the content is taken for: the policy's default where the caller doesn't say."""
    return injection.default_type if head.shape.content_type_at < 0 else head.content_type


def must_be_gathered(head: RequestHead, injection: Injection) -> bool:
    """Whether the content must be here whole: parameters go into it, or what is made for the request needs it."""
    content_type = content_type_of(head, injection)
    if injection.body_keys and mergeable(content_type):
        return True
    return injection.anew is not None and injection.anew.needs_content(content_type)


def rewritten_body(head: RequestHead, injection: Injection, body: bytes) -> bytes | Refusal:
    """Return the whole content with the policy's parameters in it."""
    if refusal := _compressed(head, injection):
        return refusal
    try:
        merged = merge_body(injection, content_type_of(head, injection), body)
    except BodyInvalid as error:
        return _not_merged(error)
    return body if merged is None else merged


def made_anew(
    head: RequestHead,
    target: Target,
    live: Live,
    injection: Injection,
    anew: Anew,
    *,
    drop: frozenset[bytes],
    body: bytes | None,
    now: float,
    random: bytes,
) -> Made | Refusal:
    """Return what is made for this request. `body` is the whole content, None: there is none, or it isn't at hand."""
    if body is not None and (refusal := _compressed(head, injection)):
        return refusal
    names = injection.header_names | drop | head.nominated
    present = set(head.shape.folded) - names
    fields = [
        (name, value)
        for name, folded, value in zip(head.shape.names, head.shape.folded, head.values, strict=True)
        if folded not in names and anew.is_signed(folded)
    ]
    if live.scrub_body:
        present |= HIDING
    has_content = head.content_length != 0 if body is None else bool(body)
    request = RequestValues(method=head.method, target=target, body=body or b"", now=now, random=random)
    content_type = content_type_of(head, injection) if has_content else head.content_type
    try:
        made = anew.make(
            injection, request, fields=fields, present=present, content_type=content_type, has_content=has_content
        )
    except BodyInvalid as error:
        return _not_merged(error)
    except InjectionInvalid as invalid:  # a name of its own: compiled, a variable has one type
        return Refusal(code="request_rejected", detail=f"A value of the policy can't be sent with it: {invalid}.")
    except ValueError:  # text that is no Unicode: half of a pair, bytes of the body
        detail = "A value of the policy can't be made for it: something in the request is no Unicode text."
        return Refusal(code="request_rejected", detail=detail)
    return made


def _compressed(head: RequestHead, injection: Injection) -> Refusal | None:
    if head.content_encoding in {None, b"identity"} or not injection.body_keys:
        return None
    if not mergeable(content_type_of(head, injection)):
        return None
    detail = "The body is compressed, and parameters must be added to it."
    return Refusal(code="request_rejected", detail=detail, hint="Send it without Content-Encoding.")


def _not_merged(error: BodyInvalid) -> Refusal:
    return Refusal(code="request_rejected", detail=f"The body can't take the policy's parameters: {error}.")


def body_too_large(limit: int) -> Refusal:
    """Refuse content that is too long to be rewritten, or signed."""
    detail = f"The policy adds parameters to the body, or signs it, which may have {limit} bytes at most."
    return Refusal(code="request_too_large", detail=detail, hint="limits.rewrite_bytes in the configuration sets this.")


def outgoing_head(
    head: RequestHead,
    target: Target,
    live: Live,
    injection: Injection,
    made: Made | None,
    *,
    drop: frozenset[bytes],
    body: bytes | None,
    upgrade: bytes | None,
    via: bytes,
) -> bytes:
    """Return the request line and the fields.

    `made` is what was made for this request beside the injection; `body` the rewritten content, None: the caller's as
    it comes.
    """
    path, query = target.path, target.query
    names, lines = injection.header_names, injection.header_lines
    if drop:
        names |= drop
    if made is not None:
        query, lines = made.query, made.lines
    else:
        if injection.query_keys:
            query = merge_query(injection, query)
        if injection.default_lines:
            lines += _defaults(head, injection, names, body, hides=live.scrub_body)
    if live.scrub_body:
        names, lines = names | HIDING, lines + b"Accept-Encoding: identity\r\n"
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


def _defaults(
    head: RequestHead, injection: Injection, dropped: frozenset[bytes], body: bytes | None, *, hides: bool
) -> bytes:
    """Return the lines of which the caller has sent none that leaves. What `hides` is on stays out."""
    folded, nominated = head.shape.folded, head.nominated
    has_content = head.content_length != 0 if body is None else bool(body)
    lines = b""
    for name, line in injection.default_lines:
        sent = name in folded and name not in dropped and name not in nominated
        if not sent and (has_content or name != _CONTENT_TYPE) and not (hides and name in HIDING):
            lines += line
    return lines
