"""`gateway serve`: both listeners, until a signal ends it."""

import sys
from typing import TYPE_CHECKING

import typer

from gateway.cli.frame import frame_of

if TYPE_CHECKING:
    from gateway.app.serving import Running


def serve(context: typer.Context) -> None:
    """Serve the proxy and the web listener."""
    from gateway.app.loop import run_on_uvloop
    from gateway.app.process import conceal
    from gateway.app.serving import serve as serve_until_stopped
    from gateway.log import configure_log

    conceal()
    settings = frame_of(context).settings()
    configure_log(form=settings.log.format, level=settings.log.level)
    run_on_uvloop(serve_until_stopped(settings, _ready))


def _ready(now: "Running") -> None:
    for line in greeting(now):
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


def greeting(now: "Running") -> list[str]:
    """Return where the listeners are, and the three lines that a person needs next."""
    from gateway.admin.token import VARIABLE, token_file

    settings = now.gateway.settings
    token = token_file(settings)
    sign_in = f"admin token: {token}" if token.exists() else f"admin token: {VARIABLE}"
    lines = [
        f"Proxy  http://{now.proxy.reachable}  what HTTP_PROXY points at",
        f"Web    {now.web_url}  pages, admin API, /metrics; {sign_in}",
        "",
    ]
    app = _example(now)
    directory = settings.policies_dir
    if app is None:
        lines.append(
            f"1. Set up an app:         {now.web_url}/apps/new (or write {directory}/<app>.toml), "
            "then: gateway connect <app>"
        )
        app = "<app>"
    else:
        lines.append(f"1. Connect an account:    gateway connect {app} --id my-{app}")
    lines += [
        f"2. Let a program use it:  gateway clients create laptop --connection 'my-{app}'",
        f"3. Run something with it: gateway run my-{app} -- curl http://…",
    ]
    return lines


def _example(now: "Running") -> str | None:
    """Return an app that can be connected from here at once, else any, else none."""
    from gateway.policy.model import Grant

    policies = now.gateway.catalog.policies
    at_once = [app for app, policy in policies.items() if policy.auth.grant in (Grant.API_KEY, Grant.BASIC)]
    return next(iter(sorted(at_once) or sorted(policies)), None)
