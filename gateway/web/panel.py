"""What "Connect your runner" shows for one client: a connection to try it with, a URL that it allows, the recipes."""

import hashlib
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from gateway.admin.dispatch import ORIGIN, SERVICES
from gateway.admin.services import Services
from gateway.errors import ClientError
from gateway.http.target import TargetInvalid, parse_target
from gateway.policy.context import Context
from gateway.policy.entry import EntryTemplate
from gateway.policy.fields import base_url, test_url, with_defaults
from gateway.policy.model import Policy
from gateway.secret import Secret
from gateway.settings import Listen
from gateway.web import trust
from gateway.web.recipes import Place, recipes

OFFERED = 200
"""Connections to choose from: a list that can still be looked through."""
NOBODY = "CONNECTION"
NOWHERE = "https://api.example.com/"
"""What stands in a recipe while no connection is covered yet."""
_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


async def panel(request: web.Request, *, covered: Sequence[str], chosen: str, token: Secret) -> dict[str, Any]:
    """Return what the template needs. `covered` are the connections to choose from; `chosen` may be none of them."""
    services = request.app[SERVICES]
    connection = chosen if chosen in covered else next(iter(covered), NOBODY)
    place = Place(
        proxy=_proxy(request),
        certificate_url=_origin(request) + trust.PATH,
        connection=connection,
        token=token,
        target=await example(services, connection) if covered else NOWHERE,
        no_proxy=services.settings.egress.no_proxy,
    )
    return {
        "place": place,
        "recipes": recipes(place),
        "choices": covered[:OFFERED],
        "more_choices": len(covered) > OFFERED,
        "nobody": not covered,
        "fingerprint": fingerprint((await services.authority()).certificate_pem) if place.trust else "",
    }


def fingerprint(pem: bytes) -> str:
    """Return a certificate's SHA-256, as openssl and browsers show it."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.decode("ascii"))).digest().hex(":", 1).upper()


async def example(services: Services, connection: str) -> str:
    """Return a URL to try a connection with: its test, its base, what is allowed; the first that may be called."""
    row = await services.store.connections.get(connection)
    policy = None if row is None else services.catalog.get(row.app)
    if policy is None:
        return NOWHERE
    fields = with_defaults(policy, await services.vault.open_fields(connection))
    found = list(_candidates(policy, fields))
    for url in found:
        if await _allowed(services, connection, url):
            return url
    return found[0] if found else NOWHERE  # one that can't be used just now is shown all the same


async def _allowed(services: Services, connection: str, url: str) -> bool:
    try:
        return bool((await services.vault.explain(connection, "GET", url))["allowed"])
    except ClientError:  # it was disconnected in this moment
        return False


def _candidates(policy: Policy, fields: Mapping[str, str]) -> Iterator[str]:
    """Return clean URLs, best first; one that holds what only the connecting knows is left out."""
    context = Context(fields=fields)
    ways: list[Callable[[], str | None]] = [partial(base_url, policy, fields)]
    ways += [partial(_of_entry, text, context) for text in policy.allow.urls]
    if policy.test is not None and policy.test.method == "GET":
        ways.insert(0, partial(test_url, policy, context))
    for way in ways:
        try:
            url = way()
            if url is not None:
                yield parse_target(url).url
        except ValueError:  # a value that is missing, or no clean URL with the values that there are
            continue


def _of_entry(text: str, context: Context) -> str | None:
    entry = EntryTemplate.parse(text)
    return None if entry.wildcard else entry.url.render(context)


def _proxy(request: web.Request) -> Listen:
    """Return where a runner reaches the proxy: where it listens, and if that is everywhere, the browser's way to us."""
    listen = request.app[SERVICES].settings.proxy.listen
    if listen.host not in _EVERYWHERE:
        return listen
    return Listen(urlsplit(_origin(request)).hostname or listen.reachable.host, listen.port)


def _origin(request: web.Request) -> str:
    """Return our own URL as others reach it: the public one, or the browser's way where that is this machine alone."""
    origin, host = request.app[ORIGIN][0], request.headers.get("Host", "")
    public = urlsplit(origin)
    try:
        reached = parse_target(f"{public.scheme}://{host}").origin
    except TargetInvalid:  # it came as far as to us, but it is no name
        return origin
    return reached.serialized if public.hostname in _LOOPBACK and reached.host not in _LOOPBACK else origin
