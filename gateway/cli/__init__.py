"""The command line: `gateway --help` is the map. Each command is a module here; `main` is the entry point.

Rules: nothing but Typer is imported before a command runs, so that `--help` is quick. Data goes to standard output,
notes to standard error. Exit codes: 0; 1 for "no" (a check failed, a decision denies, something can't be done); 2 for
wrong usage. An error is one clear line: what happened, to what, what next. Never a stack trace, never a secret.
"""

import gc
import sys

import typer

from gateway.cli import ca, check, clients, connect, connections, db, demo, explain, imports, keys, run, serve
from gateway.cli.frame import Frame, exit_status

_YOUNG = 500_000
"""Objects between collections: none comes before a command has imported all it needs, of which nothing is garbage."""

app = typer.Typer(
    name="gateway",
    help="Holds people's connections to other services and lets programs use them through HTTP_PROXY.",
    no_args_is_help=True,
    add_completion=False,
    epilog="--config FILE may stand anywhere; else GATEWAY_CONFIG, else ./config.toml, else the defaults.",
)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - Typer calls it so
    if wanted:
        from gateway import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    config: str = typer.Option("", "--config", metavar="FILE", help="The configuration file."),
    *,
    _version: bool = typer.Option(
        False, "--version", help="Print the version and end.", is_eager=True, callback=_show_version
    ),
) -> None:
    context.obj = Frame(config=config)


app.command("serve")(serve.serve)
app.command("demo")(demo.demo)
app.command("check")(check.check)
app.add_typer(imports.app, name="import")
app.command("connect")(connect.connect)
app.add_typer(connections.app, name="connections")
app.add_typer(clients.app, name="clients")
app.command("explain")(explain.explain)
app.command("run")(run.run)
app.add_typer(ca.app, name="ca")
app.add_typer(keys.app, name="keys")
app.add_typer(db.app, name="db")


def main() -> None:
    """Run the command line on `sys.argv` and exit with its status."""
    gc.set_threshold(_YOUNG)
    status = exit_status(app, sys.argv[1:])
    gc.freeze()  # what is still there ends with the process: nobody looks through it
    sys.exit(status)
