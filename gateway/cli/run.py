"""`gateway run`: start a program with the gateway as its proxy, and only for as long as it runs.

The token is in the program's environment, never in an argument list. A client that was made for the run may use this
one connection, and is removed at the end; should this process die first, its token ends by itself after a day.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.frame import frame_of, run_async

if TYPE_CHECKING:
    import asyncio

    from gateway.app import Gateway

TOKEN_VARIABLE = "GATEWAY_CLIENT_TOKEN"  # noqa: S105 - the variable's name
LIFETIME = 86_400.0
PATIENCE = 3.0
"""Seconds within which a server answers, and has seen a new client: it promises one."""
UNKNOWN = frozenset({407, 429})
"""What a token that isn't known is answered; 429 after having been asked about it often. A known one never is."""
NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""What a shell answers for a program that isn't there, or can't be run."""


def run(
    context: typer.Context,
    connection: Annotated[str, typer.Argument(help="The connection's id.")],
    command: Annotated[list[str], typer.Argument(metavar="-- CMD…", help="The program and its arguments.")],
    *,
    client_token: Annotated[
        str,
        typer.Option(
            "--client-token",
            metavar="T|-|@FILE",
            help="A client's token, or where it is: stdin, a file, or GATEWAY_CLIENT_TOKEN; else one is made.",
        ),
    ] = "",
) -> None:
    """Run a program with HTTP_PROXY, NO_PROXY and every CA variable set."""
    token = _given_token(client_token)
    raise typer.Exit(run_async(_run(context, connection, command, token)))


def _given_token(source: str) -> str | None:
    """Return the token that was given. A file or the environment is a better place for it than an argument."""
    from gateway.cli.connect import read_secrets

    if not source:
        return os.environ.get(TOKEN_VARIABLE) or None
    if source.startswith(("-", "@")):
        return read_secrets([f"client-token={source}"])["client-token"]
    return source


async def _run(context: typer.Context, connection: str, command: list[str], token: str | None) -> int:
    """Do all of it; a signal before the program began ends it in order."""
    import asyncio

    signals = _Signals()
    task = asyncio.ensure_future(_run_with(signals, context, connection, command, token))
    signals.listen(task)
    try:
        return await task
    except asyncio.CancelledError:
        if signals.early is None:
            raise
        return 128 + signals.early


async def _run_with(
    signals: "_Signals", context: typer.Context, connection: str, command: list[str], token: str | None
) -> int:
    from gateway.access import proxy_url
    from gateway.cli.environment import program_environment

    async with frame_of(context).opened() as gateway:
        await _check(gateway, connection)
        certificate = (await gateway.authority()).certificate_pem
        authority = gateway.settings.proxy.listen.reachable.authority
        with tempfile.TemporaryDirectory(prefix="gateway-run-") as place:
            ours, bundle = _trust(Path(place), certificate)
            async with _client(gateway, connection, token) as used:
                await _known(gateway, connection, used)
                environment = program_environment(
                    os.environ,
                    proxy=proxy_url(authority, connection, used),
                    no_proxy=gateway.settings.egress.no_proxy,
                    bundle=bundle,
                    certificate=ours,
                    withheld=_withheld(gateway),
                )
                return await _to_the_end(command, environment, signals)


def _withheld(gateway: "Gateway") -> set[str]:
    """Return the variables from which the gateway takes secrets: they are none of the program's business."""
    from gateway.policy.model import EnvSource

    sources = (gateway.settings.keys.source, gateway.settings.webhook.secret.reveal())
    named = {source.removeprefix("env:") for source in sources if source.startswith("env:")}
    if gateway.settings.store.url.startswith("postgresql:"):
        named.add("PGPASSWORD")
    secrets = (policy.auth.client_secret for policy in gateway.catalog.policies.values())
    return named | {secret.env for secret in secrets if isinstance(secret, EnvSource)}


def _trust(place: Path, certificate: bytes) -> tuple[Path, Path]:
    """Write our certificate alone, and with the roots; return both files."""
    from gateway.cli.environment import bundle_pem, root_files

    ours, bundle = place / "gateway-ca.pem", place / "bundle.pem"
    ours.write_bytes(certificate)
    bundle.write_bytes(bundle_pem(certificate, root_files(os.environ)))
    return ours, bundle


async def _check(gateway: "Gateway", connection: str) -> None:
    from gateway.errors import ClientError, Refusal

    if await gateway.store.connections.get(connection) is None:
        hint = "See: gateway connections list"
        raise ClientError(Refusal(code="not_found", detail=f"There is no connection {connection!r}.", hint=hint))


async def _known(gateway: "Gateway", connection: str, token: str) -> None:
    """Return once the server answers and knows the token; say what is missing before the program starts."""
    import asyncio

    from gateway.errors import ClientError, Refusal

    listen = gateway.settings.proxy.listen.reachable
    try:
        async with asyncio.timeout(PATIENCE):
            # It is another process that we wait for: there is nothing but asking.
            while await _asked(listen.host, listen.port, connection, token) in UNKNOWN:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    except TimeoutError:
        detail, hint = (
            f"The gateway at {listen} does not take this client token.",
            "Does it serve the same data directory?",
        )
        raise ClientError(Refusal(code="proxy_authentication_required", detail=detail, hint=hint)) from None
    except (OSError, ValueError, EOFError):
        detail, hint = f"No gateway answers at {listen}.", "Start it with: gateway serve"
        raise ClientError(Refusal(code="upstream_connect", detail=detail, hint=hint)) from None


async def _asked(host: str, port: int, connection: str, token: str) -> int:
    """Ask for a name that no policy can allow (RFC 6761 §6.4) and return the status: one of `UNKNOWN` until it is."""
    import asyncio
    from base64 import b64encode

    reader, writer = await asyncio.open_connection(host, port)
    try:
        tag = b64encode(f"{connection}:{token}".encode())
        writer.write(b"GET http://gateway.invalid/ HTTP/1.1\r\nHost: gateway.invalid\r\nConnection: close\r\n")
        writer.write(b"Proxy-Authorization: Basic " + tag + b"\r\n\r\n")
        line = await reader.readuntil(b"\r\n")
        return int(line.split()[1])
    except IndexError:
        raise ValueError("no HTTP answer") from None
    finally:
        writer.close()


@asynccontextmanager
async def _client(gateway: "Gateway", connection: str, token: str | None) -> AsyncIterator[str]:
    """Give a token: the one at hand, or that of a client which lives as long as the program."""
    import secrets

    if token is not None:
        yield token
        return
    name = f"run-{secrets.token_hex(6)}"
    made = await gateway.access.create(name, (connection,), gateway.clock() + LIFETIME)
    await gateway.audit.record("client.created", actor="cli", client=name, connection=connection)
    try:
        yield made.reveal()
    finally:
        await gateway.access.remove(name)  # revoked ones stay in the list; one more for each run would bury the others
        await gateway.audit.record("client.revoked", actor="cli", client=name)


class _Signals:
    """Passes signals on to the program; before there is one, a signal ends us in order, so that no client is left."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.early: int | None = None

    def listen(self, task: "asyncio.Task[Any]") -> None:
        """Take every signal from here on."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            task.get_loop().add_signal_handler(number, self._heard, number, task)

    def _heard(self, number: int, task: "asyncio.Task[Any]") -> None:
        if self.process is None:
            self.early = number
            task.cancel()
        elif number != signal.SIGINT or not sys.stdin.isatty():
            self.process.send_signal(number)
        # From a terminal both of us get SIGINT: the program decides what it means, and we wait for it.


async def _to_the_end(command: list[str], environment: Mapping[str, str], signals: _Signals) -> int:
    """Run the program and return its status as a shell would: 128 + n where a signal ended it."""
    import asyncio

    try:
        signals.process = subprocess.Popen(command, env=dict(environment))  # noqa: ASYNC220, S603 - waited for in a thread; the person's own command
    except OSError as error:
        from gateway.cli.output import complain

        complain(f"{command[0]}: can't be run: {error.strerror}")
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
    status = await asyncio.to_thread(signals.process.wait)
    return 128 - status if status < 0 else status
