"""Checks of templates and scripts: they can be read, and each path they name can be there when they are rendered."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from gateway.policy import script
from gateway.policy.checks import urls
from gateway.policy.context import ALIAS, ROOTS, is_secret_path
from gateway.policy.draft import Draft
from gateway.policy.entry import EntryInvalid, EntryTemplate
from gateway.policy.finding import Fault, did_you_mean
from gateway.policy.model import Grant, Script
from gateway.policy.moment import MADE
from gateway.policy.request import CONTENT, MADE_OF, URL
from gateway.policy.template import Path, Template, TemplateInvalid
from gateway.policy.url import UrlInvalid, UrlTemplate
from gateway.policy.value import leaves

_STANDARD = ("access_token", "refresh_token", "token_type", "expires_in", "scope", "id_token")
_REQUEST = re.compile(r"context\s*(?:\?\.|\.)\s*(?:authData\s*(?:\?\.|\.)\s*)?request\b")
_NEARLY = 0.85  # likeness from which an unknown bare name is taken for a slip


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a value may name where it stands. `why` says it for a person."""

    token: bool = False
    lookup: bool = False
    callback: bool = False
    test: bool = False
    secret: bool = False
    once: bool = False
    connection: bool = True
    app: frozenset[str] = frozenset()
    assertion: bool = False
    request: frozenset[str] = frozenset()
    signature: bool = False
    why: str


_ID = frozenset({"client_id"})
_CLIENT = _ID | {"client_secret"}
_MADE = frozenset(MADE)
_ALL = frozenset(MADE_OF)
_INJECT = Place(token=True, test=True, secret=True, app=_ID, request=_ALL, signature=True, why="in [inject]")
_DEFAULT = replace(
    _INJECT, secret=False, signature=False, why="in [inject.defaults], which the caller's own header comes before"
)
_PART = replace(_INJECT, request=_ALL - URL - CONTENT, why="in what goes into it itself; name it in a header or [sign]")
_SIGN = Place(token=True, test=True, secret=True, app=_ID, why="in this key of [sign]; name it in sign.text")
_SIGNED = replace(_SIGN, request=_ALL, why="in [sign]")
_LOGIN = Place(once=True, connection=False, app=_ID, request=_MADE, why="in a login URL, which the browser shows")
_TOKEN = Place(
    secret=True,
    once=True,
    connection=False,
    app=_CLIENT,
    assertion=True,
    request=_MADE,
    why="in [auth.token], before there is a token",
)
_EXCHANGE = replace(_TOKEN, token=True, why="in [auth.exchange]")
_DEVICE = replace(_TOKEN, app=_ID, assertion=False, why="in [auth.device], before there is a token")
_REQUEST_TOKEN = replace(_DEVICE, why="in [auth.request_token], before there is a token")
_RENEW = replace(_EXCHANGE, once=False, connection=True, why="when a token is renewed or revoked")
_ASSERTION = Place(secret=True, connection=False, app=_ID, request=_MADE, why="in [auth.assertion]")
_FOUND = Place(token=True, lookup=True, callback=True, test=True, connection=False, why="in a field that is found")
_FOUND_SECRET = replace(_FOUND, secret=True)
_TEST = Place(token=True, app=_ID, why="in a call of the policy's own")
_LABEL = Place(token=True, test=True, once=True, why="in [connection], which is shown")
_URL = Place(connection=False, why="in an allowed or base URL")


_SECTIONS = {
    "request_token": _REQUEST_TOKEN,
    "authorize": _LOGIN,
    "device": _DEVICE,
    "token": _TOKEN,
    "exchange": _EXCHANGE,
    "refresh": _RENEW,
    "revoke": _RENEW,
}
"""What the parts of [auth] that are asked may name. In their URLs it is less: what is the app's own isn't for a log."""


def check(draft: Draft) -> Iterator[Fault]:
    """Yield the faults of every value in the file."""
    for at, value, place in _values(draft):
        if isinstance(value, Script):
            yield from _script(value, at, place)
            continue
        try:
            template = Template.parse(value)
        except TemplateInvalid as error:
            yield at, str(error)
            continue
        for path in dict.fromkeys(template.paths):
            yield from _path(draft, path, at, place)
    for at, url, place in _urls(draft):
        skip = set(url.host_fields)  # said with the host's own rule
        for path in dict.fromkeys(url.paths):
            if path[-1] not in skip:
                yield from _path(draft, path, at, place)


def _values(draft: Draft) -> Iterator[tuple[str, str | Script, Place]]:
    parts: list[tuple[str, Any, Place]] = []
    if draft.inject:
        places = {"headers": _INJECT, "defaults": _DEFAULT, "query": _PART, "body": _PART}
        parts += [(f"inject.{name}", getattr(draft.inject, name), place) for name, place in places.items()]
    if draft.sign:
        parts += [(f"sign.{key}", value, _SIGNED if key == "text" else _SIGN) for key, value in draft.sign]
    if draft.auth:
        for section, place in _SECTIONS.items():
            model = getattr(draft.auth, section)
            parts += [(f"auth.{section}.{name}", getattr(model, name, None), place) for name in ("params", "headers")]
        names = ("key_id", "issuer", "subject", "audience", "claims", "headers")
        parts += [(f"auth.assertion.{name}", getattr(draft.auth.assertion, name, None), _ASSERTION) for name in names]
    for name, call in (("lookup", draft.lookup), ("test", draft.test)):
        if call:
            parts += [(f"{name}.headers", call.headers, _TEST), (f"{name}.body", call.body, _TEST)]
    for number, field in draft.fields:
        parts.append((f"fields[{number}].from", field.source, _FOUND_SECRET if field.secret else _FOUND))
    if draft.connection:
        parts += [(f"connection.{name}", getattr(draft.connection, name), _LABEL) for name in ("label", "unique_id")]
    for at, value, place in parts:
        yield from ((where, leaf, place) for where, leaf in leaves(value, at))


def _urls(draft: Draft) -> Iterator[tuple[str, UrlTemplate, Place]]:
    texts: list[tuple[str, str | None, Place]] = [("base_url", draft.base_url, _URL)]
    if draft.auth:
        for section, place in _SECTIONS.items():
            url = getattr(getattr(draft.auth, section), "url", None)
            texts.append((f"auth.{section}.url", url, replace(place, app=_ID, assertion=False, request=frozenset())))
    for name, call in (("lookup", draft.lookup), ("test", draft.test)):
        if call:
            texts.append((f"{name}.url", call.url, _TEST))
    for at, text, place in texts:
        try:
            if text:
                yield at, UrlTemplate.parse(text, relative=at in ("lookup.url", "test.url")), place
        except UrlInvalid:
            continue  # said by the section's own check
    yield from _entries(draft)


def _entries(draft: Draft) -> Iterator[tuple[str, UrlTemplate, Place]]:
    for key in ("urls", "deny"):
        for number, text in enumerate(getattr(draft.allow, key, ())):
            try:
                yield f"allow.{key}[{number}]", EntryTemplate.parse(text, deny=key == "deny").url, _URL
            except EntryInvalid:
                continue  # said by the section's own check


def _script(value: Script, at: str, place: Place) -> Iterator[Fault]:
    if place.request and _REQUEST.search(value.js):
        yield f"{at}.js", "names the request, for which no script is run; write a template such as {{ request.time }}"
    elif place is _SIGNED:
        yield at, "is a script, and none is run for a request; write a template such as {{ request.time }}"
    try:
        script.check(value.js)
    except script.ScriptInvalid as error:
        yield f"{at}.js", str(error)


def _path(draft: Draft, path: Path, at: str, place: Place) -> Iterator[Fault]:
    root, *rest = path
    if path[:2] == ("authData", "testcode"):
        root = "test"
    look = _ROOTS.get(root)
    yield from look(draft, tuple(rest), path, at, place) if look else _bare(draft, path, at, place)


def _fields(draft: Draft, rest: Path, path: Path, at: str, place: Place) -> Iterator[Fault]:
    if len(rest) == 1:
        yield from _field(draft, rest[0], at, place)
    else:
        yield at, f"{'.'.join(path)} is no path to a field; write {{{{ fields.name }}}}"


def _all_together(draft: Draft, rest: Path, _path: Path, at: str, place: Place) -> Iterator[Fault]:
    if rest:
        yield from _bare(draft, rest, at, place)
    else:
        yield at, "authData is a table; name one value of it, as in {{ authData.access_token }}"


def _app(draft: Draft, rest: Path, path: Path, at: str, place: Place) -> Iterator[Fault]:
    name = ".".join(path)
    if rest not in (("client_id",), ("client_secret",)):
        yield at, f"{name} is unknown; the app has app.client_id and app.client_secret"
    elif rest == ("client_secret",) and draft.auth and draft.auth.grant is Grant.OAUTH1:
        yield at, f"{name} signs with the grant oauth1, and is never sent itself; leave it out"
    elif rest == ("client_secret",) and "client_secret" not in place.app:
        yield at, f"{name} is not for here; it stands in params and headers of [auth.token] and its like alone"
    elif rest[0] not in place.app:
        yield at, f"{name} is not known {place.why}"
    elif draft.auth and getattr(draft.auth, rest[0]) is None:
        yield at, f"{name} is the client's, and there is no auth.{rest[0]}; add it"


def _assertion(draft: Draft, rest: Path, _path: Path, at: str, place: Place) -> Iterator[Fault]:
    if rest:
        yield at, "assertion is one text; write {{ assertion }}"
    elif not place.assertion:
        yield at, f"assertion is not known {place.why}; it stands in params and headers of [auth.token] and its like"
    elif draft.auth and draft.auth.assertion is None:
        yield at, "assertion is what [auth.assertion] says, signed, and there is none; add it"


def _request(_draft: Draft, rest: Path, path: Path, at: str, place: Place) -> Iterator[Fault]:
    name = ".".join(path)
    if len(rest) != 1 or rest[0] not in _ALL:
        near = did_you_mean(".".join(rest), _ALL)
        yield at, f"{name} is unknown; " + (f"did you mean request.{near}?" if near else f"it has {', '.join(MADE_OF)}")
    elif rest[0] not in place.request:
        known = ", ".join(f"request.{key}" for key in MADE_OF if key in place.request)
        yield at, f"{name} is not known {place.why}" + (f"; known are {known}" if known else "")


def _signature(draft: Draft, rest: Path, _path: Path, at: str, place: Place) -> Iterator[Fault]:
    if rest:
        yield at, "signature is one text; write {{ signature }}"
    elif not place.signature:
        yield at, f"signature is not known {place.why}"
    elif not draft.has_sign:
        yield at, 'signature is what [sign] comes to, and there is no [sign]; add it, with scheme = "hmac"'
    elif draft.sign and draft.sign.scheme != "hmac":
        yield at, f"signature is for the scheme hmac; {draft.sign.scheme} writes its headers itself"


def _connection(_draft: Draft, rest: Path, path: Path, at: str, place: Place) -> Iterator[Fault]:
    name = ".".join(path)
    if rest != ("id",):
        yield at, f"{name} is unknown; the connection has connection.id alone"
    elif not place.connection:
        yield at, f"connection.id is not known {place.why}"


def _field(draft: Draft, name: str, at: str, place: Place) -> Iterator[Fault]:
    field = draft.by_name.get(name)
    if field is None:
        if name not in draft.field_names:
            yield at, urls.unknown_field(draft, name)
        return
    if field.secret and not place.secret:
        yield at, f"names the secret field {name} {place.why}; secrets are for [inject] and [auth] alone"
    if field.once and not place.once:
        yield at, f"names the field {name}, which is used once while connecting and is never stored"


def _test(draft: Draft, _rest: Path, path: Path, at: str, place: Place) -> Iterator[Fault]:
    name = ".".join(path)
    if not place.test:
        yield at, f"{name} is not known {place.why}; the test API has not answered then"
    elif not draft.has_test:
        yield at, f"{name} is the test API's answer, and there is no [test]; add it"
    elif name in ("test", f"authData.{ALIAS}"):
        yield at, f"{name} is a table; name one value of it, as in {{{{ {name}.id }}}}"


def _answer(draft: Draft, _rest: Path, path: Path, at: str, place: Place) -> Iterator[Fault]:
    root, name = path[0], ".".join(path)
    if not getattr(place, root):
        yield at, f'{name} is known only while connecting; add a field with from = "{{{{ {name} }}}}" and name that'
    elif len(path) == 1:
        yield at, f"{name} is a table; name one value of it, as in {{{{ {name}.id }}}}"
    elif root == "lookup" and not draft.has_lookup:
        yield at, f"{name} is the look-up's answer, and there is no [lookup]; add it"
    elif root == "callback" and draft.auth and draft.auth.authorize is None:
        yield at, f"{name} comes with a login's callback, and there is no [auth.authorize]"


def _token(draft: Draft, rest: Path, path: Path, at: str, place: Place) -> Iterator[Fault]:
    name = ".".join(path)
    if not place.token:
        yield at, f"{name} is not known {place.why}"
    elif draft.auth and not draft.auth.grant.has_token:
        yield at, f"{name} is the token endpoint's answer, which the grant {draft.auth.grant} has not; name a field"
    elif not rest:
        yield at, "token is a table; name one value of it, as in {{ token.access_token }}"
    elif is_secret_path(rest) and not place.secret:
        yield at, f"names {name} {place.why}; secrets are for [inject] and [auth] alone"


def _bare(draft: Draft, path: Path, at: str, place: Place) -> Iterator[Fault]:
    """A bare name is looked up in the token endpoint's answer and then in the fields."""
    name = ".".join(path)
    has_token = place.token and (draft.auth is None or draft.auth.grant.has_token)
    if path[0] in draft.field_names:
        if len(path) > 1 and not has_token:
            yield at, f"{name} leads nowhere: the field {path[0]} is a text"
        yield from _field(draft, path[0], at, place)
        return
    if path[0] in _STANDARD:
        yield from _token(draft, path, path, at, place)
        return
    known = [*draft.field_names, *(_STANDARD if has_token else ()), *(ROOTS if len(path) > 1 else ())]
    near = did_you_mean(path[0], known, cutoff=_NEARLY if has_token else 0.6)
    if not has_token:
        yield (
            at,
            f"{name} is unknown {place.why}; "
            + (f"did you mean {near}?" if near else f'add [[fields]] with name = "{path[0]}"'),
        )
    elif near and not _maps(draft, path[0]):
        yield (
            at,
            f"{name} is unknown; did you mean {near}? (if the token's answer really has it, write token.{name})",
        )


def _maps(draft: Draft, name: str) -> bool:
    auth = draft.auth
    sections = (auth.token, auth.exchange, auth.refresh) if auth else ()
    return any(name in (section.response or {}) for section in sections if section)


_ROOTS = {
    "fields": _fields,
    "token": _token,
    "callback": _answer,
    "lookup": _answer,
    "test": _test,
    "app": _app,
    "assertion": _assertion,
    "request": _request,
    "signature": _signature,
    "connection": _connection,
    "authData": _all_together,
}
"""What looks at a path, by its first step; all others are bare names."""
