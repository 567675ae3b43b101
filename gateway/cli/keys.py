"""`gateway keys`: the keys that credentials are sealed with."""

from typing import Annotated

import typer

from gateway.cli.frame import frame_of, run_async

app = typer.Typer(help="The keys that credentials are sealed with.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Stand between `keys` and its one command, which Typer would otherwise fold into one word."""


@app.command("status")
def status(
    context: typer.Context, *, json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Show where the master key comes from and the data keys that it opens."""
    run_async(_status(context, json=json))


async def _status(context: typer.Context, *, json: bool) -> None:
    from gateway.cli.output import moment, note, show_json, show_table

    async with frame_of(context).opened() as gateway:
        keys = await gateway.store.keys.all()
        newest = gateway.keyring.newest
        source = gateway.settings.keys.source
    shown = [
        {
            "id": key.id,
            "state": "sealing" if key.id == newest else "opening",
            "created_at": moment(key.created_at),
            "retired_at": moment(key.retired_at),
        }
        for key in keys
    ]
    if json:
        show_json({"source": source, "items": shown, "next": None})
        return
    note(f"The master key comes from {source}; it opens {len(keys)} data key{'s' if len(keys) != 1 else ''}.")
    show_table(
        ("ID", "STATE", "CREATED"), [(k["id"], k["state"], k["created_at"]) for k in shown], empty="There are none."
    )
