"""What the demo shows. Each step acts, checks that what it says came true (`Unmet` if not), and returns what it saw.

A step's lines are told in the order in which they happened: `$` a command, `>` what the service got, `<` an answer.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from gateway.cli.demo.stage import CLIENT, CONNECTION, Stage, Unmet, answer_of, program

SHOWN = ("host", "authorization", "user-agent", "accept-encoding", "via")
OK, DENIED = 200, 403


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What happened in a step: the lines to show, and the outcome in one clause."""

    lines: tuple[str, ...]
    outcome: str


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is shown. `title` is what it claims."""

    title: str
    act: Callable[[Stage], Awaitable[Seen]]


def require(holds: object, otherwise: str) -> None:
    """Raise `Unmet` unless it holds."""
    if not holds:
        raise Unmet(otherwise)


async def start(stage: Stage) -> Seen:
    """A gateway with its own temporary data."""
    seconds = await stage.start()
    lines = ("$ gateway serve", f"< proxy on http://{stage.proxy}, web on http://{stage.web}")
    return Seen(lines=lines, outcome=f"both ports answered after {seconds:.2f} s")


async def connect(stage: Stage) -> Seen:
    """The secret goes in through standard input, a token comes back for a program."""
    done = await stage.gateway(
        "connect", "sandbox", "--id", CONNECTION, "--secret", "client_secret=-", stdin=stage.service.client_secret
    )
    require(done.status == 0, f"gateway connect failed: {done.err.strip()}")
    require(stage.service.tokens_given == 1, "the token endpoint was not asked exactly once")
    made = await stage.gateway("clients", "create", CLIENT, "--connection", CONNECTION)
    stage.token = made.out.strip()
    require(made.status == 0 and stage.token.startswith("gwc_"), f"gateway clients create failed: {made.err.strip()}")
    lines = (
        f"$ gateway connect sandbox --id {CONNECTION} --secret client_secret=-",
        f"< {done.err.strip().splitlines()[0]}",
        f"$ gateway clients create {CLIENT} --connection {CONNECTION}",
        f"< {_short(stage.token)}",
    )
    return Seen(lines=lines, outcome="one token call; the client secret is sealed")


async def call(stage: Stage) -> Seen:
    """A program that knows nothing but HTTP_PROXY calls the API; the service receives its token, nothing of ours."""
    url = f"{stage.service.http}/v1/users/42"
    await _until_known(stage, url)
    before = len(stage.service.received)
    status, body = await stage.call(url)
    arrived = stage.service.received[before:]
    require(status == OK and body.get("name") == "Ann Example", f"the call was answered with {status}: {body}")
    require(len(arrived) == 1, f"the service received {len(arrived)} requests, not one")
    _require_clean(stage, arrived[0])
    lines = (*_command(stage, url), *_received(arrived[0]), f"< {status} {body}")
    return Seen(lines=lines, outcome="200; the service saw its own token and nothing of the gateway's")


async def revoke(stage: Stage) -> Seen:
    """The token is worthless; the 401 is refreshed and replayed, and the program never sees it."""
    require(stage.service.revoke() == 1, "there was no token to revoke")
    url = f"{stage.service.http}/v1/users/42"
    before, calls = len(stage.service.received), stage.service.tokens_given
    status, body = await stage.call(url)
    arrived = stage.service.received[before:]
    tokens = [_short(request.headers["Authorization"]) for request in arrived]
    require(status == OK, f"the call was answered with {status}: {body}")
    require(len(arrived) == 2 and tokens[0] != tokens[1], f"the service received {tokens}")  # noqa: PLR2004 - 401, then 200
    require(stage.service.tokens_given == calls + 1, "the token was not renewed exactly once")
    lines = (
        "  The service revokes every token it has given. The gateway isn't told.",
        *_command(stage, url),
        f"> GET /v1/users/42  Authorization: {tokens[0]}  → 401",
        f"> GET /v1/users/42  Authorization: {tokens[1]}  → 200",
        f"< {status} {body}",
    )
    return Seen(lines=lines, outcome="200; the 401 was refreshed and replayed out of sight")


async def deny(stage: Stage) -> Seen:
    """Outside the allowed URLs nothing is sent, and the answer says what would be allowed."""
    url = f"{stage.service.http}/admin"
    before = len(stage.service.received)
    status, body = await stage.call(url)
    require(status == DENIED and body.get("code") == "target_not_allowed", f"it was answered with {status}: {body}")
    require(body.get("hint"), "the answer has no hint")
    require(len(stage.service.received) == before, "the service received something")
    lines = (*_command(stage, url), f"< {status} {body['code']}: {body['detail']}", f"< hint: {body['hint']}")
    return Seen(lines=lines, outcome="403 with a hint; the service saw nothing")


async def intercept(stage: Stage) -> Seen:
    """Over https: the program trusts the gateway's CA, the gateway the service's, and the token goes in between."""
    url = f"{stage.service.https}/v1/users/42"
    before = len(stage.service.received)
    # Without the service's CA in the surroundings: the program can only be content with what the gateway shows it.
    done = await stage.gateway("run", CONNECTION, "--", *program(url), trusts_service=False)
    status, body = answer_of(done)
    arrived = stage.service.received[before:]
    require(status == OK and body.get("via") == "https", f"the call was answered with {status}: {body}")
    require(len(arrived) == 1, f"the service received {len(arrived)} requests, not one")
    _require_clean(stage, arrived[0])
    lines = (
        f"$ gateway run {CONNECTION} -- python -c 'urlopen(\"{url}\")'",
        *_received(arrived[0]),
        f"< {status} {body}",
    )
    return Seen(lines=lines, outcome="200 through CONNECT, under the gateway's own certificate")


async def stop(stage: Stage) -> Seen:
    """It ends when it is told to."""
    status = await stage.stop()
    require(status == 0, f"the gateway ended with status {status}")
    return Seen(lines=("$ kill -TERM", "< status 0"), outcome="ended in order")


STEPS = (
    Step("Start a gateway beside a sandbox service", start),
    Step("Connect an account, give a program a token", connect),
    Step("Call the API through HTTP_PROXY", call),
    Step("Revoke the token behind the gateway's back, and call again", revoke),
    Step("Ask for a target that is not allowed", deny),
    Step("Call over https, through the interception", intercept),
    Step("Stop", stop),
)


async def _until_known(stage: Stage, url: str) -> None:
    """Ask until the running server has heard of the new client, which it does within a second."""
    import asyncio

    for _ in range(20):
        status, _ = await stage.call(url)
        if status != 407:  # noqa: PLR2004 - Proxy Authentication Required
            return
        await asyncio.sleep(0.1)


def _require_clean(stage: Stage, request: web.Request) -> None:
    """Require exactly one credential, the service's own, and nothing that tells of the gateway's client."""
    given = request.headers.getall("Authorization", [])
    require(len(given) == 1 and given[0].startswith("Bearer sandbox-"), "not exactly one credential was injected")
    everything = str(list(request.headers.items()))
    require(stage.token not in everything, "the client token reached the service")
    require("proxy-authorization" not in everything.lower(), "Proxy-Authorization reached the service")


def _command(stage: Stage, url: str) -> tuple[str, str]:
    return (
        f"$ export HTTP_PROXY=http://{CONNECTION}:{_short(stage.token)}@{stage.proxy}",
        f"$ python -c 'urlopen(\"{url}\")'",
    )


def _received(request: web.Request) -> tuple[str, ...]:
    shown = {name: request.headers[name] for name in SHOWN if name in request.headers}
    return (
        f"> {request.method} {request.path}  ({request.scheme})",
        *(
            f">   {name.title()}: {_short(value) if name == 'authorization' else value}"
            for name, value in shown.items()
        ),
    )


def _short(value: Any) -> str:
    """Return enough of a token to tell it from another."""
    text = str(value)
    return text if len(text) <= 24 else text[:20] + "…"  # noqa: PLR2004 - a column's width
