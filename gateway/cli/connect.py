"""`gateway connect`: make a connection, at once, by a code to type in, or by a one-time link.

A secret never stands in an argument: it would show in `ps` and in the shell's history. It comes from standard input
(`--secret api_key=-`), from a file (`--secret api_key=@FILE`), or is asked for on a terminal.
"""

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.frame import NO, frame_of, run_async

if TYPE_CHECKING:
    from gateway.app import Gateway
    from gateway.policy.model import Field, Policy
    from gateway.store.rows import LinkRow

POLL = 1.0
"""Seconds between looks for the person who follows a link."""


def connect(
    context: typer.Context,
    app: Annotated[str, typer.Argument(help="The app: the name of its policy file, without .toml.")],
    *,
    connection_id: Annotated[str, typer.Option("--id", help="The connection's id; left out: one is made.")] = "",
    field: Annotated[list[str] | None, typer.Option("--field", metavar="K=V", help="A field's value.")] = None,
    secret: Annotated[
        list[str] | None, typer.Option("--secret", metavar="K=-|K=@FILE", help="A secret, from stdin or a file.")
    ] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Print the link and end.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Connect an account: at once where credentials are enough, else by a code or a link for a person."""
    fields = dict(_pair(text, "--field") for text in field or [])
    secrets = read_secrets(secret or [])
    status = run_async(_connect(context, app, connection_id or None, fields, secrets, wait=not no_wait, json=json))
    if status:
        raise typer.Exit(status)


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint=option)
    return name, value


def read_secrets(given: list[str]) -> dict[str, str]:
    """Return the secrets that `--secret` names. One that stands in the argument itself is refused, and not repeated."""
    values: dict[str, str] = {}
    for text in given:
        name, equals, source = text.partition("=")
        if not name or not equals:
            raise typer.BadParameter("write NAME=- or NAME=@FILE", param_hint="--secret")
        values[name] = _read_secret(
            name, source, stdin_used="-" in {one.partition("=")[2] for one in given[: len(values)]}
        )
    return values


def _read_secret(name: str, source: str, *, stdin_used: bool) -> str:
    if source == "-":
        if stdin_used:
            raise typer.BadParameter("only one secret can come from standard input", param_hint="--secret")
        value = _prompt(name) if sys.stdin.isatty() else sys.stdin.read()
    elif source.startswith("@"):
        try:
            with open(source[1:], encoding="utf-8") as file:  # noqa: PTH123 - pathlib isn't loaded yet
                value = file.read()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise typer.BadParameter(f"{name}: {source[1:]} can't be read: {reason}", param_hint="--secret") from None
    else:
        reason = "a secret in an argument shows in ps and in the shell's history"
        raise typer.BadParameter(
            f"{reason}; write {name}=- to read it from standard input, or {name}=@FILE", param_hint="--secret"
        )
    value = value.removesuffix("\n").removesuffix("\r")
    if not value:
        raise typer.BadParameter(f"{name}: what was read is empty", param_hint="--secret")
    return value


def _prompt(label: str) -> str:
    from getpass import getpass

    return getpass(f"{label}: ")


async def _connect(
    context: typer.Context,
    app: str,
    connection_id: str | None,
    fields: dict[str, str],
    secrets: dict[str, str],
    *,
    wait: bool,
    json: bool,
) -> int:
    from gateway.admin.links import BY_LOGIN
    from gateway.cli.connections import as_json
    from gateway.cli.device import tokens_by_code
    from gateway.cli.output import show_json
    from gateway.errors import ClientError
    from gateway.policy.model import Grant
    from gateway.secret import Secret

    async with frame_of(context).opened(create=True) as gateway:
        policy = _policy(gateway, app)
        _refuse_misplaced(policy, fields)
        if policy.auth.grant in BY_LOGIN or (policy.auth.grant is Grant.DEVICE_CODE and not wait):
            from gateway.admin.links import check_presets

            preset = check_presets(policy, fields, secrets)
            return await _by_link(gateway, app, connection_id, preset, wait=wait, json=json)
        ask_missing(policy, fields, secrets)
        hidden = {name: Secret(value) for name, value in secrets.items()}
        try:
            answer = None
            if policy.auth.grant is Grant.DEVICE_CODE:
                await gateway.vault.check_id(app, connection_id)
                answer = await tokens_by_code(gateway, app, policy, {**fields, **hidden}, json=json)
            done = await gateway.vault.connect(
                app, connection_id=connection_id, fields=fields, secrets=hidden, actor="cli", answer=answer
            )
        except ClientError as error:
            missing = missing_fields(policy, fields, secrets)
            if not missing or not error.refusal.errors:
                raise
            raise ClientError(replace(error.refusal, hint=_how_to_give(missing))) from error
    row = done.row
    if json:
        show_json(as_json(row) | {"created": done.created})
        return 0
    tell_connected(row.id, row.label or row.app, created=done.created)
    return 0


def _policy(gateway: "Gateway", app: str) -> "Policy":
    from gateway.errors import PolicyError, Refusal

    policy = gateway.catalog.get(app)
    if policy is not None:
        return policy
    directory = gateway.settings.policies_dir
    if any(finding.file.endswith(f"{app}.toml") for finding in gateway.catalog.findings):
        detail, hint = f"The policy of {app} has errors.", f"Run: gateway check {app}"
    else:
        known = ", ".join(sorted(gateway.catalog.policies)) or "none yet"
        detail, hint = f"There is no policy {app}.toml in {directory}.", f"There are: {known}."
    raise PolicyError(Refusal(code="not_found", detail=detail, hint=hint))


def _refuse_misplaced(policy: "Policy", fields: Mapping[str, str]) -> None:
    secret = {field.name for field in policy.fields if field.secret}
    for name in fields:
        if name in secret or (name == "password" and policy.auth.grant in ("password", "basic")):
            raise typer.BadParameter(
                f"{name} is a secret, which in an argument shows in ps and in the shell's history; "
                f"write --secret {name}=- or --secret {name}=@FILE",
                param_hint="--field",
            )


def ask_missing(policy: "Policy", fields: dict[str, str], secrets: dict[str, str]) -> None:
    """Ask for the required fields that weren't given, where there is a person to ask; secrets without echo."""
    from gateway.cli.output import note

    heading = ""
    for field in missing_fields(policy, fields, secrets) if sys.stdin.isatty() else ():
        if field.group and field.group != heading:
            note(f"{field.group}:")
        heading = field.group
        if field.docs:
            note(f"Where to find it: {field.docs}")
        if field.secret:
            secrets[field.name] = _prompt(asking(field))
        else:
            fields[field.name] = typer.prompt(asking(field), err=True)


def asking(field: "Field") -> str:
    """Return what a person is asked: `Site (https://….example.com; such as acme)`."""
    around = f"{field.prefix}…{field.suffix}" if field.prefix or field.suffix else ""
    more = "; ".join(filter(None, (around, f"such as {field.example}" if field.example else "")))
    return (field.label or field.name) + (f" ({more})" if more else "")


def missing_fields(policy: "Policy", fields: Mapping[str, str], secrets: Mapping[str, str]) -> "list[Field]":
    """Return the required fields that nobody has given: those without a heading first."""
    missing = [
        field
        for field in policy.fields
        if field.is_asked
        and field.required
        and field.default is None
        and field.name not in fields
        and field.name not in secrets
    ]
    groups = list(dict.fromkeys(["", *(field.group for field in policy.fields)]))
    return sorted(missing, key=lambda field: groups.index(field.group))


def _how_to_give(missing: "list[Field]") -> str:
    how = [f"--secret {field.name}=-" if field.secret else f"--field {field.name}=VALUE" for field in missing]
    return f"Add {' '.join(how)} (or a secret from a file: --secret NAME=@FILE)."


async def _by_link(
    gateway: "Gateway", app: str, connection_id: str | None, preset: Mapping[str, str], *, wait: bool, json: bool
) -> int:
    """Make the one-time link, print it, and wait until it was used or has expired."""
    from gateway.admin.links import LIFETIME, make_link
    from gateway.cli.output import moment, note, say, show_json

    token, link = await make_link(
        gateway, app=app, connection=connection_id, fields=preset, lifetime=LIFETIME, actor="cli"
    )
    url = f"{gateway.settings.web.public_url}/connect/{token}"
    if json:
        show_json({"url": url, "expires_at": moment(link.expires_at)})
    else:
        note(f"Open this link once, before {moment(link.expires_at)} (a running server serves it):")
        say(url)
    if not wait:
        return 0
    note("Waiting until somebody has connected with it. Ctrl-C ends the waiting; the link stays good.")
    return await _ended(gateway, link, json=json)


async def _ended(gateway: "Gateway", link: "LinkRow", *, json: bool) -> int:
    """Look once a second, for it is another process, the server, that connects; say how it ended."""
    import asyncio

    from gateway.admin.links import GRACE, outcome_of
    from gateway.cli.connections import as_json
    from gateway.cli.output import complain, note, show_json

    said = None
    while (found := await gateway.store.links.get(link.token_hash)) is not None:
        outcome = outcome_of(gateway, found)
        if found.used_at is not None:
            break
        if found.outcome != said and outcome is not None:
            note(f"Not yet: {outcome.problem} The link stays good.")
        said = found.outcome
        if gateway.clock() >= link.expires_at + GRACE:
            break
        await asyncio.sleep(POLL)
    if found is None or found.used_at is None or outcome is None:
        complain("The link has expired, and nobody has connected with it.", f"Make another: gateway connect {link.app}")
        return NO
    row = await gateway.store.connections.get(outcome.connection)
    if json and row is not None:
        show_json(as_json(row) | {"created": outcome.created})
        return 0
    tell_connected(outcome.connection, outcome.label, created=outcome.created)
    return 0


def tell_connected(connection: str, label: str, *, created: bool) -> None:
    """Say that it is done, and what comes next."""
    from gateway.cli.output import note

    note(f"{'Connected' if created else 'Connected again'}: {connection} ({label}).")
    note(f"Let a program use it: gateway clients create NAME --connection {connection}")
