"""`gateway connections`: what is connected, and whether it works."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.frame import NO, frame_of, run_async

if TYPE_CHECKING:
    from gateway.store.rows import ConnectionRow, RevocationRow, Status

app = typer.Typer(help="Connections: list, show, test, refresh, disconnect.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PAGE = 200


@app.command("list")
def list_(
    context: typer.Context,
    *,
    app_name: Annotated[str, typer.Option("--app", help="Of this app alone.")] = "",
    status: Annotated[str, typer.Option("--status", help="In this status alone.")] = "",
    json: Json = False,
) -> None:
    """List the connections."""
    run_async(_list(context, app_name or None, status or None, json=json))


@app.command("show")
def show(context: typer.Context, connection: str, *, json: Json = False) -> None:
    """Show one connection, without its credentials."""
    run_async(_show(context, connection, json=json))


@app.command("test")
def test_(context: typer.Context, connection: str, *, json: Json = False) -> None:  # noqa: PT028 - not one of pytest's
    """Run the app's test call with this connection. Exit 1 if it fails."""
    if not run_async(_test(context, connection, json=json)):
        raise typer.Exit(NO)


@app.command("refresh")
def refresh(context: typer.Context, connection: str) -> None:
    """Get new tokens now."""
    run_async(_refresh(context, connection))


@app.command("disconnect")
def disconnect(context: typer.Context, connection: str) -> None:
    """Revoke at the provider and forget the credentials."""
    run_async(_disconnect(context, connection))


def as_json(row: "ConnectionRow", left: "RevocationRow | None" = None) -> dict[str, Any]:
    """Return a stored connection as the admin API shows it: nothing sealed is in it."""
    from gateway.admin.connections import shown

    return shown(row, left).model_dump(mode="json")


async def _list(context: typer.Context, app_name: str | None, status: str | None, *, json: bool) -> None:
    from gateway.cli.output import moment, show_json, show_table

    wanted = _status(status)
    rows: list[ConnectionRow] = []
    async with frame_of(context).opened() as gateway:
        cursor = None
        while True:
            page = await gateway.store.connections.list(app=app_name, status=wanted, limit=PAGE, cursor=cursor)
            rows += page.items
            cursor = page.next
            if cursor is None:
                break
        left = await gateway.store.revocations.of(row.id for row in rows) if json else {}
    if json:
        show_json({"items": [as_json(row, left.get(row.id)) for row in rows], "next": None})
        return
    columns = ("ID", "APP", "LABEL", "STATUS", "LAST USED")
    shown = [(row.id, row.app, row.label, row.status, moment(row.last_used_at)) for row in rows]
    show_table(columns, shown, empty="There are no connections yet. Make one with: gateway connect APP")


def _status(text: str | None) -> "Status | None":
    from gateway.store.rows import Status

    if text is None:
        return None
    try:
        return Status(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is none of {', '.join(Status)}", param_hint="--status") from None


async def _show(context: typer.Context, connection: str, *, json: bool) -> None:
    from gateway.cli.output import show_json, show_pairs
    from gateway.errors import ClientError, Refusal

    async with frame_of(context).opened() as gateway:
        row = await gateway.store.connections.get(connection)
        left = (await gateway.store.revocations.of([connection])).get(connection)
    if row is None:
        hint = "See: gateway connections list"
        raise ClientError(Refusal(code="not_found", detail=f"There is no connection {connection!r}.", hint=hint))
    if json:
        show_json(as_json(row, left))
        return
    pairs = as_json(row, left)
    if left is not None:
        state, attempts = pairs["revocation"]["state"], left.attempts
        pairs["revocation"] = (
            f"{state} after {attempts} {'try' if attempts == 1 else 'tries'}: {left.last_error or '-'}"
        )
    show_pairs({name.replace("_", " "): value for name, value in pairs.items()})


async def _test(context: typer.Context, connection: str, *, json: bool) -> bool:
    from gateway.cli.output import complain, note, show_json

    async with frame_of(context).opened() as gateway:
        result = await gateway.vault.test(connection, actor="cli")
    if json:
        show_json({"ok": result.ok, "status": result.status, "message": result.message})
    elif result.ok:
        note(f"{connection}: {result.message}")
    else:
        complain(f"{connection}: {result.message}", f"Connect again, or see: gateway connections show {connection}")
    return bool(result.ok)


async def _refresh(context: typer.Context, connection: str) -> None:
    from gateway.cli.output import note

    async with frame_of(context).opened() as gateway:
        await gateway.vault.refresh(connection, actor="cli")
    note(f"{connection}: it has new tokens.")


async def _disconnect(context: typer.Context, connection: str) -> None:
    from gateway.cli.output import note

    async with frame_of(context).opened() as gateway:
        await gateway.vault.disconnect(connection, actor="cli")
        await gateway.vault.close()  # the provider has been told once by then, or could not be
        left = (await gateway.store.revocations.of([connection])).get(connection)
    note(f"{connection}: disconnected; its credentials are gone.")
    if left is not None:
        note(f"The provider has not revoked its tokens yet; the server goes on trying. {left.last_error or ''}".strip())
