"""Apps: their policies, checked before they are written, and their secrets, written and never read."""

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path

from gateway.admin.links import BY_LOGIN, redirect_url
from gateway.admin.models import App, AppWithPolicy, Checked, FieldOfApp, Finding, ListOf, PageQuery, SecretOfApp
from gateway.admin.operation import Answer, Call, missing
from gateway.admin.policies import app_ids, delete_policy, named_secrets, set_secret, write_policy
from gateway.admin.services import Services
from gateway.catalog import SUFFIX
from gateway.errors import ClientError, Refusal
from gateway.policy.load import Finding as PolicyFinding
from gateway.policy.load import load
from gateway.policy.model import Policy
from gateway.secret import Secret


async def list_apps(call: Call) -> Answer:
    """Return the apps in the order of their ids; the cursor is the last id of the page before."""
    query: PageQuery = call.query
    names = [name for name in app_ids(call.services) if query.cursor is None or name > query.cursor]
    shown = names[: query.limit]
    items = [await app_of(call.services, name, origin=call.origin) for name in shown]
    return Answer(body=ListOf[App](items=items, next=shown[-1] if len(names) > len(shown) else None))


async def show_app(call: Call) -> Answer:
    """Return one app with its policy's text as it stands in the file, in force or not."""
    return Answer(body=await _with_policy(call, call.parameters["app"]))


async def put_app(call: Call) -> Answer:
    """Check the policy, and write it only where nothing is wrong with it."""
    app = call.parameters["app"]
    new = call.services.catalog.get(app) is None
    if findings := await write_policy(call.services, app, call.body.policy, actor=call.actor):
        raise _faulty(findings)
    return Answer(body=await _with_policy(call, app), status=201 if new else 200)


async def delete_app(call: Call) -> Answer:
    """Take the policy away."""
    await delete_policy(call.services, call.parameters["app"], actor=call.actor)
    return Answer(status=204)


async def check_policy(call: Call) -> Answer:
    """Return every finding of a policy's text. Nothing is written."""
    return Answer(body=checked(load(call.body.policy, app="policy", file="policy" + SUFFIX).findings))


async def put_secret(call: Call) -> Answer:
    """Seal and store one secret of an app. Its value is in no answer and no event."""
    app, name, services = call.parameters["app"], call.parameters["name"], call.services
    if services.catalog.get(app) is None:
        raise missing(f"app {app!r}")
    await set_secret(services, app, name, Secret(call.body.value), actor=call.actor)
    return Answer(status=204)


def checked(findings: Iterable[PolicyFinding]) -> Checked:
    """Return findings as the API shows them."""
    items = [_finding(finding) for finding in findings]
    return Checked(ok=not items, findings=items)


async def app_of(services: Services, app: str, *, origin: str) -> App:
    """Return what is known of an app. `origin` is the web listener's URL. Raises `ClientError` where there is none."""
    policy = services.catalog.get(app)
    findings = [finding for finding in services.catalog.findings if Path(finding.file).stem == app]
    if policy is None and not findings:
        raise missing(f"app {app!r}")
    return App(
        app=app,
        name=policy.name if policy else None,
        grant=str(policy.auth.grant) if policy else None,
        base_url=policy.base_url if policy else None,
        redirect_url=redirect_url(origin, app) if policy and policy.auth.grant in BY_LOGIN else None,
        in_force=policy is not None,
        fields=_fields(policy) if policy else [],
        secrets=await _secrets(services, app, policy),
        findings=[_finding(finding) for finding in findings],
    )


async def _with_policy(call: Call, app: str) -> AppWithPolicy:
    shown = await app_of(call.services, app, origin=call.origin)
    file = call.services.catalog.path(app)
    try:
        text = await asyncio.to_thread(file.read_text, encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return AppWithPolicy(**dict(shown), policy=text)


async def _secrets(services: Services, app: str, policy: Policy | None) -> list[SecretOfApp]:
    stored = set(await services.store.secrets.names(app))
    used = named_secrets(policy) if policy else frozenset[str]()
    return [SecretOfApp(name=name, set=name in stored, used=name in used) for name in sorted(stored | used)]


def _fields(policy: Policy) -> list[FieldOfApp]:
    return [
        FieldOfApp(
            name=one.name,
            label=one.label,
            help=one.help or None,
            kind=one.kind,
            choices=list(one.choices) if one.choices is not None else None,
            pattern=one.pattern,
            domains=list(one.domains),
            default=None if one.secret else one.default,
            required=one.required,
            secret=one.secret,
            once=one.once,
            asked=one.is_asked,
            example=one.example or None,
            docs=one.docs or None,
            prefix=one.prefix or None,
            suffix=one.suffix or None,
            group=one.group or None,
        )
        for one in policy.fields
    ]


def _finding(finding: PolicyFinding) -> Finding:
    return Finding(file=Path(finding.file).name, path=finding.path, message=finding.message)


def _faulty(findings: Iterable[PolicyFinding]) -> ClientError:
    errors: tuple[Mapping[str, str], ...] = tuple({"path": one.path, "message": one.message} for one in findings)
    return ClientError(Refusal(code="invalid", detail="The policy is not right; nothing was written.", errors=errors))
