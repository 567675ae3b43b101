"""`gateway explain`: what would happen to a request, and why."""

from typing import Annotated, Any

import typer

from gateway.cli.frame import NO, frame_of, run_async


def explain(
    context: typer.Context,
    connection: str,
    method: str,
    url: str,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the decision on a request, the entry that matched, and what would be injected. Exit 1 if denied."""
    answer = run_async(_explain(context, connection, method, url))
    if json:
        from gateway.cli.output import show_json

        show_json(answer)
    else:
        _show(answer)
    if not answer["allowed"]:
        raise typer.Exit(NO)


async def _explain(context: typer.Context, connection: str, method: str, url: str) -> dict[str, Any]:
    async with frame_of(context).opened() as gateway:
        return dict(await gateway.vault.explain(connection, method.upper(), url))


def _show(answer: dict[str, Any]) -> None:
    from gateway.cli.output import say, show_pairs

    pairs = {"decision": "allowed" if answer["allowed"] else "denied"}
    for key in ("reason", "rule", "upstream_url", "limits", "hint"):
        if answer.get(key):
            pairs[key.replace("_", " ").replace("upstream url", "goes to")] = answer[key]
    show_pairs(pairs)
    for place, values in (answer.get("inject") or {}).items():
        for name, value in dict(values).items():
            say(f"  inject {place}: {name}: {value}")
