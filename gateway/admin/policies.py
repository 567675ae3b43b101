"""What changing an app does, whoever asks for it: its file, what the vault knows of it, its secrets, and the trail."""

from pathlib import Path

from gateway.admin.operation import missing
from gateway.admin.services import Services
from gateway.errors import ClientError, Refusal, StoreError
from gateway.policy.load import Finding
from gateway.policy.model import Policy, SecretSource
from gateway.secret import Secret
from gateway.store.rows import Status
from gateway.vault.credentials import Safe

LIVING = tuple(status for status in Status if status is not Status.DISCONNECTED)


def app_ids(services: Services) -> list[str]:
    """Return the ids of all apps, those included whose file has never been right."""
    broken = {Path(finding.file).stem for finding in services.catalog.findings}
    return sorted(broken | set(services.catalog.policies))


def named_secrets(policy: Policy) -> frozenset[str]:
    """Return the names of the sealed secrets that a policy asks for."""
    key = policy.auth.assertion.key if policy.auth.assertion else None
    sources = (policy.auth.client_id, policy.auth.client_secret, key)
    return frozenset(source.secret for source in sources if isinstance(source, SecretSource))


async def write_policy(services: Services, app: str, text: str, *, actor: str) -> tuple[Finding, ...]:
    """Check a policy, and write it only where nothing is wrong with it. Returns the faults.

    Raises `ClientError` (`invalid`) for what is no app's name, and `StoreError` where the file can't be written.
    """
    new = services.catalog.get(app) is None
    try:
        findings = services.catalog.write(app, text)
    except OSError as error:
        raise _unwritable(error) from None
    if not findings:
        services.vault.forget("policy", app)  # the watcher sees only what others wrote
        await services.audit.record("app.created" if new else "app.changed", actor=actor, app=app)
    return findings


async def delete_policy(services: Services, app: str, *, actor: str) -> None:
    """Take the policy away, and the app's secrets. Raises `ClientError` (`not_found`, `conflict`), `StoreError`.

    An app with living connections stays: they would be left without rules. A disconnected connection isn't living: it
    holds no credentials, and stays in the list as history.
    """
    if app not in app_ids(services):
        raise missing(f"app {app!r}")
    if await has_living_connections(services, app):
        detail = f"The app {app!r} still has connections."
        raise ClientError(Refusal(code="conflict", detail=detail, hint="Disconnect them first."))
    try:
        services.catalog.delete(app)
    except OSError as error:
        raise _unwritable(error) from None
    services.vault.forget("policy", app)
    for name in await services.store.secrets.names(app):
        await services.store.secrets.delete(app, name)
    await services.audit.record("app.deleted", actor=actor, app=app)


async def set_secret(services: Services, app: str, name: str, value: Secret, *, actor: str) -> None:
    """Seal and store one secret of an app. Its value is in no answer and no event."""
    sealed = Safe(services.keyring).seal_app_secret(app, name, value)
    await services.store.secrets.put(app, name, sealed, now=services.clock())
    await services.audit.record("secret.set", actor=actor, app=app, name=name)


async def has_living_connections(services: Services, app: str) -> bool:
    """Whether the app has connections that its policy still governs."""
    for status in LIVING:
        if (await services.store.connections.list(app=app, status=status, limit=1)).items:
            return True
    return False


def _unwritable(error: OSError) -> StoreError:
    detail = f"The policies directory can't be written: {error.strerror}."
    return StoreError(Refusal(code="conflict", detail=detail, hint="Change the file where it comes from."))
