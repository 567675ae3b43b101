"""Injection: what a policy adds to a request, rendered once for each version of a connection's token.

What belongs to one request (`request`, `signature`) is bound here, and made by `anew`. A value that needs a field which
may stay empty is left out without it; its name is the policy's all the same.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from gateway.http.fields import folded_name
from gateway.policy.anew import Anew
from gateway.policy.context import Context, field_of, is_secret_path
from gateway.policy.header import InjectionInvalid, encoded, forbidden_header, header
from gateway.policy.injection import Injection
from gateway.policy.merge import BodyInvalid, merge_body, merge_query
from gateway.policy.model import Grant, Policy, Script
from gateway.policy.script import ScriptInvalid
from gateway.policy.sign import signer, written
from gateway.policy.template import MissingValue, Path
from gateway.policy.value import bind, is_anew, is_left_out, paths, render_json, render_text
from gateway.secret import Secret

__all__ = ["BodyInvalid", "Injection", "InjectionInvalid", "forbidden_header", "merge_body", "merge_query", "render"]

_BASIC = "Basic {{ (fields.username ~ ':' ~ fields.password) | b64encode }}"  # RFC 7617 §2
_T = TypeVar("_T")


def render(policy: Policy, context: Context) -> Injection:
    """Render what a policy injects. Raises `MissingValue`, `InjectionInvalid` (both `ValueError`, without a secret)."""
    used: list[Secret] = []
    left_out: list[Path] = []
    seen = len(context.used)
    inject, headers = policy.inject, header_values(policy)

    def each(at: str, values: Mapping[str, Any], make: Callable[[str, Any, str], _T]) -> list[_T]:
        """Render those that are there and the same in every request."""
        made: list[_T] = []
        for name, value in values.items():
            if is_anew(value):
                continue
            try:
                made.append(make(name, value, f"inject.{at}.{name}"))
            except MissingValue as error:
                if not is_left_out(policy, error):
                    raise
                left_out.extend(_named(value, error))
        return made

    def field(name: str, value: str | Script, path: str) -> tuple[bytes, bytes]:
        return header(name, _value(value, context, used, path), path)

    def parameter(name: str, value: str | Script, path: str) -> tuple[bytes, bytes]:
        return encoded(name), encoded(_value(value, context, used, path))

    def member(name: str, value: Any, path: str) -> tuple[str, Any]:
        return name, _json(value, context, used, path)

    injection = Injection(
        headers=tuple(each("headers", headers, field)),
        header_names=frozenset(folded_name(name.encode()) for name in headers) | written(policy.sign),
        defaults=tuple(each("defaults", inject.defaults, field)),
        query=tuple(each("query", inject.query, parameter)),
        query_names=frozenset(name.encode() for name in inject.query),
        body=dict(each("body", inject.body, member)),
        body_names=frozenset(inject.body),
        anew=_anew(policy, context, used, left_out),
        secrets=tuple(dict.fromkeys(secret for secret in used if secret)),
    )
    if left_out and not injection.secrets and policy.auth.grant is not Grant.NONE:
        _refuse_bare(policy, left_out, read=context.used[seen:])
    return injection


def _named(value: Any, missing: MissingValue) -> list[Path]:
    return [*paths(value), tuple(missing.path.split("."))]


def _refuse_bare(policy: Policy, left_out: list[Path], *, read: list[Secret]) -> None:
    """Raise `MissingValue` where no secret goes into a request, and what is left out of it names or has `read` one."""
    secret = {field.name for field in policy.fields if field.secret}
    credentials = [path for path in left_out if field_of(path) in secret or is_secret_path(path)]
    if read or credentials:
        name = ".".join((credentials or left_out)[-1])
        raise MissingValue(name, "can't be left out with what needs it: nothing else would show who asks")


def header_values(policy: Policy) -> Mapping[str, str | Script]:
    """The headers of [inject.headers]; with the basic grant also RFC 7617's Authorization, if it isn't there."""
    headers = policy.inject.headers
    if policy.auth.grant is Grant.BASIC and not any(name.lower() == "authorization" for name in headers):
        return {"Authorization": _BASIC, **headers}
    return headers


def _anew(policy: Policy, context: Context, used: list[Secret], left_out: list[Path]) -> Anew | None:
    """Return what makes the rest for each request, None: there is no rest. Adds to `used` and `left_out`."""
    seen = len(context.used)

    def bound(at: str, values: Mapping[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name, value in values.items():
            if not is_anew(value):
                continue
            before = len(context.used)
            try:
                made[name] = bind(value, context)
            except MissingValue as error:
                if not is_left_out(policy, error):
                    raise MissingValue(error.path, f"is missing or empty; inject.{at}.{name} needs it") from None
                left_out.extend(_named(value, error))
                del context.used[before:]
            except ScriptInvalid as error:
                raise InjectionInvalid(f"inject.{at}.{name}: {error}") from None
        return made

    inject = policy.inject
    try:
        anew = Anew(
            headers=bound("headers", inject.headers),
            defaults=bound("defaults", inject.defaults),
            query=bound("query", inject.query),
            body=bound("body", inject.body),
            signer=None if policy.sign is None else signer(policy, policy.sign, context),
        )
    except ScriptInvalid as error:
        raise InjectionInvalid(f"sign: {error}") from None
    secrets = context.used[seen:]
    used += secrets
    used += [Secret(secret.reveal().lower()) for secret in secrets]  # as the filter may have it
    return anew if anew.makes_something else None


def _value(value: str | Script, context: Context, used: list[Secret], path: str) -> str:
    """Render one text; note its secrets, and the text itself when it holds one."""
    seen = len(context.used)
    try:
        text = render_text(value, context)
    except MissingValue as error:
        raise MissingValue(error.path, f"is missing or empty; {path} needs it") from None
    except ScriptInvalid as error:
        raise InjectionInvalid(f"{path}: {error}") from None
    if not text.strip():
        raise InjectionInvalid(f"{path} is empty")
    if len(context.used) > seen:
        used += context.used[seen:]
        used += [Secret(text), *_credentials(text)]
    return text


def _credentials(text: str) -> list[Secret]:
    """What follows "Basic" or "Bearer" (RFC 9110 §11.4): a server may echo it without its scheme."""
    scheme, _, rest = text.partition(" ")
    return [Secret(rest)] if rest and " " not in rest and scheme.isalpha() else []


def _json(value: Any, context: Context, used: list[Secret], path: str) -> Any:
    if isinstance(value, str):
        return _value(value, context, used, path)
    seen = len(context.used)
    try:
        rendered = render_json(value, context)
        json.dumps(rendered, allow_nan=False)
    except MissingValue as error:
        raise MissingValue(error.path, f"is missing or empty; {path} needs it") from None
    except ValueError as error:
        reason = str(error) if isinstance(error, ScriptInvalid) else "is no valid JSON"
        raise InjectionInvalid(f"{path}: {reason}") from None
    if len(context.used) > seen:
        used += [*context.used[seen:], *(Secret(text) for text in _texts(rendered))]
    return rendered


def _texts(value: Any) -> list[str]:
    match value:
        case str():
            return [value] if value else []
        case dict():
            return [text for item in value.values() for text in _texts(item)]
        case list():
            return [text for item in value for text in _texts(item)]
    return []
