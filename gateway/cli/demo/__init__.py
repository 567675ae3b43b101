"""`gateway demo`: the main job end to end, against a local sandbox service, narrated.

sandbox   the service: a token endpoint and an API, over http and TLS, with its own throwaway CA
stage     a temporary place, and a gateway beside it as a process of its own
steps     what is shown, each with what must come true
"""

from typing import Annotated

import typer


def demo(*, json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False) -> None:
    """Show the main job against a sandbox service on this machine; takes some seconds, leaves nothing behind."""
    from gateway.cli.demo.show import show
    from gateway.cli.frame import NO, run_async

    if not run_async(show(json=json)):
        raise typer.Exit(NO)
