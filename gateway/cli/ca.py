"""`gateway ca`: the certificate authority that callers trust for CONNECT."""

import sys
from typing import Annotated

import typer

from gateway.cli.frame import frame_of, run_async

app = typer.Typer(help="The gateway's certificate authority.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Stand between `ca` and its one command, which Typer would otherwise fold into one word."""


@app.command("export")
def export(
    context: typer.Context, file: Annotated[str, typer.Argument(help="Where to; left out: standard output.")] = ""
) -> None:
    """Write the CA certificate, as PEM, for callers to trust."""
    pem = run_async(_certificate(context))
    if file:
        _write(file, pem)
    else:
        sys.stdout.write(pem)


async def _certificate(context: typer.Context) -> str:
    async with frame_of(context).opened(create=True) as gateway:
        return (await gateway.authority()).certificate_pem.decode()


def _write(file: str, pem: str) -> None:
    from pathlib import Path

    from gateway.cli.output import note
    from gateway.errors import GatewayError, Refusal

    try:
        Path(file).write_text(pem, encoding="ascii")
    except OSError as error:
        detail = f"{file}: the certificate can't be written: {error.strerror}."
        raise GatewayError(Refusal(code="internal", detail=detail)) from None
    note(f"The CA certificate is in {file}. Let callers trust it, for example with SSL_CERT_FILE or CURL_CA_BUNDLE.")
