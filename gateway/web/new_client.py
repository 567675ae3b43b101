"""Making a client: its name, which connections, for how long. What was typed stays, whatever was wrong with it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from gateway.admin.dispatch import SERVICES
from gateway.admin.granting import make_client
from gateway.errors import ClientError, Refusal
from gateway.web.admin import ACTOR, for_admins, read_admin_form
from gateway.web.clients import FEW, made
from gateway.web.coverage import Coverage
from gateway.web.render import page
from gateway.web.text import plain

PATH = "/clients/_new"
"""No client's own page: a name begins with a letter or a digit."""
LIVES = {"month": 30 * 86_400.0, "quarter": 90 * 86_400.0, "year": 365 * 86_400.0, "never": None}
"""The choices of a life, in seconds."""
USUAL = "quarter"
TICKED = 40
"""So many connections can be ticked; where there are more, patterns name them."""
_USE = "use."


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """What stands in the form."""

    name: str = ""
    ticked: tuple[str, ...] = ()
    patterns: str = ""
    expires: str = USUAL

    @classmethod
    def of(cls, values: Mapping[str, str]) -> "Typed":
        """Read a form."""
        return cls(
            name=values.get("name", "").strip(),
            ticked=tuple(name.removeprefix(_USE) for name in values if name.startswith(_USE)),
            patterns=values.get("patterns", ""),
            expires=values.get("expires", ""),
        )

    @property
    def wanted(self) -> tuple[str, ...]:
        """What the client is to be given: the ticked ones, and each word of the patterns."""
        return tuple(dict.fromkeys([*self.ticked, *filter(None, re.split(r"[\s,]+", self.patterns))]))


@for_admins
async def show(request: web.Request) -> web.StreamResponse:
    """Show the form; `?like=NAME` fills in what that client may use, `?connection=ID` that connection."""
    like = await request.app[SERVICES].store.clients.get(request.query.get("like", ""))
    ids = await request.app[SERVICES].store.connections.ids()
    one = request.query.get("connection")
    patterns = like.patterns if like is not None else [one] if one in ids else []
    return _form(request, ids, _as(patterns, ids), errors={})


async def make(request: web.Request) -> web.StreamResponse:
    """Make the client and show its token; or say what it would cover, or what is wrong, in the form."""
    _, values = await read_admin_form(request)
    services, typed = request.app[SERVICES], Typed.of(values)
    ids = await services.store.connections.ids()
    if values.get("step") == "look":
        return _form(request, ids, typed, errors={}, looked=True)
    if typed.expires not in LIVES:
        return _form(request, ids, typed, errors={"expires": plain("clients.choose_expiry")}, status=422)
    try:
        row, token = await make_client(
            services, name=typed.name, patterns=typed.wanted, lifetime=LIVES[typed.expires], actor=ACTOR
        )
    except ClientError as error:
        errors = _errors(error.refusal, typed)
        if not errors:
            raise
        return _form(request, ids, typed, errors=errors, status=error.refusal.status)
    return await made(request, row, token, chosen="")


def _as(patterns: Sequence[str], ids: Sequence[str]) -> Typed:
    """Return a form that names these: ticked where it can be."""
    ticked = tuple(one for one in patterns if one in ids and len(ids) <= TICKED)
    return Typed(ticked=ticked, patterns="\n".join(one for one in patterns if one not in ticked))


def _form(
    request: web.Request,
    ids: Sequence[str],
    typed: Typed,
    *,
    errors: Mapping[str, str],
    looked: bool = False,
    status: int = 200,
) -> web.Response:
    coverage = Coverage(ids)
    # One that was ticked and is gone by now is still what was asked for.
    offered = tuple(dict.fromkeys([*ids, *typed.ticked])) if len(ids) <= TICKED else typed.ticked
    shown: dict[str, Any] = {
        "typed": typed,
        "errors": errors,
        "offered": offered,
        "number": len(ids),
        "covers": [(pattern, coverage.of([pattern])) for pattern in typed.wanted] if looked or errors else None,
        "few": FEW,
        "lives": [(key, plain(f"clients.life.{key}")) for key in LIVES],
    }
    return page(request, "client_new.html", status=status, **shown)


def _errors(refusal: Refusal, typed: Typed) -> dict[str, str]:
    """Return what is wrong, by the field that it stands beside."""
    if refusal.code == "conflict":
        return {"name": plain("clients.taken", name=typed.name)}
    errors: dict[str, str] = {}
    for fault in refusal.errors:
        place, _, number = fault["path"].rstrip("]").partition("[")
        said = f"{typed.wanted[int(number)]}: {fault['message']}" if number else fault["message"]
        field = {"connections": "patterns", "expires_in": "expires"}.get(place, place)
        errors[field] = f"{errors[field]}; {said}" if field in errors else said
    return errors
