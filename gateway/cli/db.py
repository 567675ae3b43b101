"""`gateway db`: the store's schema."""

from typing import Annotated

import typer

from gateway.cli.frame import frame_of, run_async

app = typer.Typer(help="The store's schema.", no_args_is_help=True)


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
