"""`gateway keys`: the keys that credentials are sealed with."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.frame import NO, frame_of, run_async

if TYPE_CHECKING:
    from gateway.app import Gateway
    from gateway.store.rotation import Rotated
    from gateway.store.rows import DataKeyRow

app = typer.Typer(help="The keys that credentials are sealed with.", no_args_is_help=True)


@app.command("status")
def status(
    context: typer.Context, *, json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Show where the master key comes from, the data keys that it opens, and what is sealed with each."""
    run_async(_status(context, json=json))


@app.command("rotate")
def rotate(
    context: typer.Context,
    *,
    master_to: Annotated[
        str | None,
        typer.Option(
            "--master-to",
            metavar="SOURCE",
            help="Change the master key instead, to the one from file:PATH, env:NAME or command:PROGRAM ARGUMENT…",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a new data key, seal everything with it while servers serve, and remove the old key.

    It can be stopped at any time: the next one goes on where it was.
    """
    code = run_async(_rotate(context, json=json) if master_to is None else _rewrap(context, master_to, json=json))
    if code:
        raise typer.Exit(code)


async def _status(context: typer.Context, *, json: bool) -> None:
    from gateway.app.master import shown_source
    from gateway.cli.output import moment, note, show_json, show_table
    from gateway.store.sealed_values import SealedValues

    async with frame_of(context).opened() as gateway:
        keys = await gateway.store.keys.all()
        counts = await SealedValues(gateway.store.database).count()
        source = shown_source(gateway.settings.keys.source)
    shown = [
        {
            "id": key.id,
            "state": _state(key, keys),
            "sealed": counts.get(key.id, 0),
            "created_at": moment(key.created_at),
            "retired_at": moment(key.retired_at),
        }
        for key in keys
    ]
    lost = sum(number for key_id, number in counts.items() if key_id not in {key.id for key in keys})
    if json:
        show_json({"source": source, "rotating": len(keys) > 1, "lost": lost, "items": shown, "next": None})
        return
    note(f"The master key comes from {source}; it opens {len(keys)} data key{'s' if len(keys) != 1 else ''}.")
    show_table(
        ("ID", "STATE", "SEALED", "CREATED", "RETIRED"),
        [(k["id"], k["state"], k["sealed"], k["created_at"], k["retired_at"]) for k in shown],
        empty="There are none.",
    )
    if lost:
        note(f"{lost} values are sealed with keys that are not there: nothing opens them.")
    if len(keys) > 1:
        note(f"A rotation to data key {keys[-1].id} is unfinished. Finish it with: gateway keys rotate")


def _state(key: "DataKeyRow", keys: "Sequence[DataKeyRow]") -> str:
    if key is keys[-1]:
        return "sealing"
    return "opening" if key.retired_at is None else "retired"


async def _rotate(context: typer.Context, *, json: bool) -> int:
    from gateway.cli.output import complain, note, progress, show_json
    from gateway.store.rotation import Rotation

    async with frame_of(context).opened() as gateway:
        with progress("Sealing anew") as told:
            rotation = Rotation(gateway.store, gateway.keyring, gateway.master, clock=gateway.clock, progress=told)
            done = await rotation.run()
        await gateway.audit.record("keys.rotated", actor="cli", key=done.key, removed=list(done.removed))
    if json:
        show_json(_as_json(done))
    else:
        for line in _told(done):
            note(line)
    if done.stuck and not json:
        for place in done.stuck:
            complain(f"{place} does not open, and was left as it is", "Connect it or set it again, or disconnect it")
    return NO if done.stuck else 0


def _as_json(done: "Rotated") -> Mapping[str, Any]:
    return {
        "key": done.key,
        "resumed": done.resumed,
        "sealed": done.sealed,
        "removed": done.removed,
        "stuck": done.stuck,
    }


def _told(done: "Rotated") -> list[str]:
    lines = []
    if done.resumed:
        lines.append("This finished a rotation that was begun before; no other key was made.")
    lines.append(f"Data key {done.key} seals; {done.sealed} values are sealed with it.")
    if done.removed:
        lines.append(f"Removed, so that nothing opens with it any more: data key {', '.join(map(str, done.removed))}.")
        lines.append(
            "Backups from before still hold it, wrapped by the same master key: whoever has both can open them."
        )
    return lines


async def _rewrap(context: typer.Context, source: str, *, json: bool) -> int:
    from gateway.app.master import shown_source
    from gateway.cli.output import note, show_json
    from gateway.settings import key_source
    from gateway.store.rotation import rewrap

    try:
        wanted = key_source(source)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--master-to") from None
    async with frame_of(context).opened() as gateway:
        wanted = wanted.replace("{data_dir}", str(gateway.settings.data_dir))
        before = shown_source(gateway.settings.keys.source)
        count = await rewrap(gateway.store, gateway.master, _master_of(gateway, wanted))
        await gateway.audit.record("keys.rewrapped", actor="cli", keys=count)
    shown = shown_source(wanted)
    if json:
        show_json({"source": shown, "rewrapped": count})
        return 0
    note(f"The master key from {shown} wraps the {count} data key{'s' if count != 1 else ''} now; {before} opens none.")
    note("Next: set keys.source to it, and restart the servers. Until then they go on with the keys they hold,")
    note("but can't be started again. Backups from before need the old master key.")
    return 0


def _master_of(gateway: "Gateway", source: str) -> bytes:
    """Return the master key of a source; the file of a `file:` source is made where there is none."""
    from gateway.app.master import create_master_file, read_master_key
    from gateway.errors import ClientError, Refusal

    master = read_master_key(source)
    if master is None:
        master = create_master_file(source)
    if master == gateway.master:
        detail = "This is the master key already; nothing was changed."
        raise ClientError(Refusal(code="invalid", detail=detail, hint="Name a source that holds another key."))
    return master
