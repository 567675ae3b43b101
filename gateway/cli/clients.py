"""`gateway clients`: the programs that may use connections."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.frame import frame_of, run_async

if TYPE_CHECKING:
    from gateway.store.rows import ClientRow

app = typer.Typer(help="Programs that may use connections: create, list, revoke.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("create")
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What the program is called.")],
    connection: Annotated[
        list[str], typer.Option("--connection", metavar="PATTERN", help="Which connections; * matches anything.")
    ],
    *,
    expires: Annotated[str, typer.Option("--expires", metavar="90d", help="How long the token holds.")] = "",
    json: Json = False,
) -> None:
    """Create a client and print its token, this once."""
    run_async(_create(context, name, tuple(connection), expires, json=json))


@app.command("list")
def list_(context: typer.Context, *, json: Json = False) -> None:
    """List the clients, without their tokens."""
    run_async(_list(context, json=json))


@app.command("revoke")
def revoke(context: typer.Context, name: str) -> None:
    """Take a client's token back; a running server refuses it within a second."""
    run_async(_revoke(context, name))


async def _create(context: typer.Context, name: str, patterns: tuple[str, ...], expires: str, *, json: bool) -> None:
    from gateway.admin.granting import make_client
    from gateway.cli.output import moment, note, say, show_json

    lifetime = _lifetime(expires)
    async with frame_of(context).opened(create=True) as gateway:
        row, token = await make_client(gateway, name=name, patterns=patterns, lifetime=lifetime, actor="cli")
    if json:
        show_json(_as_json(row) | {"token": token.reveal()})
        return
    until = row.expires_at
    note(f"Client {name} may use {', '.join(patterns)}{f' until {moment(until)}' if until else ''}.")
    note("Its token is shown this once:")
    say(token.reveal())


def _lifetime(text: str) -> float | None:
    from gateway.duration import parse_duration

    if not text:
        return None
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--expires") from None
    if seconds <= 0:
        raise typer.BadParameter("a client needs some time to live, such as 90d", param_hint="--expires")
    return seconds


async def _list(context: typer.Context, *, json: bool) -> None:
    from gateway.cli.output import moment, show_json, show_table

    async with frame_of(context).opened() as gateway:
        clients = await gateway.access.list()
        now = gateway.clock()
    if json:
        show_json({"items": [_as_json(one) for one in clients], "next": None})
        return
    rows = [
        (one.name, ", ".join(one.patterns), _state(one.revoked_at, one.expires_at, now), moment(one.created_at))
        for one in clients
    ]
    show_table(("NAME", "CONNECTIONS", "STATE", "CREATED"), rows, empty="There are no clients yet.")


def _as_json(row: "ClientRow") -> dict[str, Any]:
    from gateway.cli.output import moment

    times = {name: moment(getattr(row, name)) for name in ("created_at", "expires_at", "revoked_at")}
    return {"name": row.name, "connections": list(row.patterns), **times}


def _state(revoked_at: float | None, expires_at: float | None, now: float) -> str:
    from gateway.cli.output import moment

    if revoked_at is not None:
        return "revoked"
    if expires_at is None:
        return "active"
    return f"active until {moment(expires_at)}" if expires_at > now else "expired"


async def _revoke(context: typer.Context, name: str) -> None:
    from gateway.admin.granting import end_client
    from gateway.cli.output import note
    from gateway.errors import ClientError, Refusal

    async with frame_of(context).opened() as gateway:
        if not await end_client(gateway, name, actor="cli"):
            hint = "See: gateway clients list"
            raise ClientError(Refusal(code="not_found", detail=f"There is no client {name!r} to revoke.", hint=hint))
    note(f"Client {name} is revoked.")
