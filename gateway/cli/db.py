"""`gateway db`: the store's schema, and the store as a whole."""

from typing import Annotated

import typer

from gateway.cli.frame import frame_of, run_async

app = typer.Typer(help="The store's schema; and the store, moved to another database.", no_args_is_help=True)


@app.command("current")
def current(
    context: typer.Context, *, json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Show the version that the store's schema has, and the one that this gateway needs."""
    run_async(_current(context, json=json))


@app.command("upgrade")
def upgrade(context: typer.Context) -> None:
    """Bring the store's schema up to what this gateway needs. Back the store up first."""
    run_async(_upgrade(context))


@app.command("copy")
def copy(
    context: typer.Context,
    *,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="URL",
            help="postgresql://user@host/database or sqlite:///PATH; env:NAME, or PGPASSWORD, keeps a password"
            " out of the list of processes.",
        ),
    ],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Copy the whole store into an empty database. Stop the servers first; the old store is only read.

    It can be stopped at any time: the next one goes on where it was. Until it has ended, no gateway uses the copy.
    """
    run_async(_copy(context, to, json=json))


async def _copy(context: typer.Context, to: str, *, json: bool) -> None:
    import os

    from gateway.app.process import conceal
    from gateway.cli.output import note, progress, show_json, show_table
    from gateway.store.copying import copy_store

    conceal()
    url = os.environ.get(to.removeprefix("env:"), "") if to.startswith("env:") else to
    if not url:
        raise typer.BadParameter(f"{to}: there is no such variable, or it is empty", param_hint="--to")
    with progress("Copying") as told:
        done = await copy_store(frame_of(context).settings().store.url, url, progress=told)
    if json:
        show_json({"resumed": done.resumed, "written": done.written, "rows": dict(done.rows)})
        return
    show_table(("table", "rows"), [*done.rows.items()], empty="")
    note(f"{sum(done.rows.values())} rows are in both stores; {done.written} were written now.")
    note("Next: set store.url to the new one and start the servers, with the same keys.source: the master key")
    note("isn't in either store. The old store is as it was; remove it when nothing needs it any more.")


async def _current(context: typer.Context, *, json: bool) -> None:
    from gateway.app.schema import schema_of
    from gateway.cli.output import show_json, show_pairs

    found, head = await schema_of(frame_of(context).settings())
    if json:
        show_json({"current": found, "head": head})
    else:
        show_pairs({"current": found, "needed": head})


async def _upgrade(context: typer.Context) -> None:
    from gateway.app.schema import schema_of, upgrade_schema
    from gateway.cli.output import note

    settings = frame_of(context).settings()
    await upgrade_schema(settings)
    found, _ = await schema_of(settings)
    note(f"The store's schema is at {found}.")
