"""Where the client's own id, secret and key come from: the policy, the environment, a file, a field, or the store."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gateway.errors import PolicyError, Refusal
from gateway.keyring import KeyringError
from gateway.oauth.endpoint import ClientCredentials
from gateway.policy.context import Consumer, Context
from gateway.policy.model import CredentialSource, EnvSource, FieldSource, FileSource, Policy, SecretSource
from gateway.policy.sign import signs_as_consumer
from gateway.policy.value import paths
from gateway.secret import Secret
from gateway.store.app_secrets import AppSecrets
from gateway.vault.credentials import Safe


class Sources:
    """Reads the sources of what is the client's, anew at each use: a rotated secret just works.

    `typed` are secrets of the app that aren't stored yet, by their names: a try uses them before the stored ones.
    """

    def __init__(
        self,
        *,
        secrets: AppSecrets,
        safe: Safe,
        environ: Mapping[str, str],
        typed: Mapping[str, Secret] | None = None,
    ) -> None:
        self._typed = typed or {}
        self._secrets = secrets
        self._safe = safe
        self._environ = environ

    async def client(self, app: str, policy: Policy, context: Context) -> ClientCredentials | None:
        """Return the client's credentials; None where the policy has no client. Raises `PolicyError`, `StoreError`."""
        if policy.auth.client_id is None:
            return None
        client_id = await self._read(app, "client_id", policy.auth.client_id, context)
        secret = policy.auth.client_secret
        return ClientCredentials(
            client_id=client_id.reveal(),
            client_secret=None if secret is None else await self._read(app, "client_secret", secret, context),
        )

    async def key(self, app: str, policy: Policy, context: Context) -> Secret | None:
        """Return what [auth.assertion] is signed with; None where there is none. Raises as `client`."""
        assertion = policy.auth.assertion
        return None if assertion is None else await self._read(app, "assertion.key", assertion.key, context)

    async def certificate(self, app: str, policy: Policy, context: Context) -> Secret | None:
        """Return what is shown in TLS; None where the policy has none. Raises as `client`."""
        source = policy.auth.certificate
        return None if source is None else await self._read(app, "certificate", source, context)

    async def with_app(self, app: str, policy: Policy, context: Context) -> Context:
        """Return the context with what the policy's own requests need of the app: its client's id, what signs them.

        It is read only where it is named, or signs. Raises as `client`.
        """
        if signs_as_consumer(policy):
            client = await self.client(app, policy, context)
            if client is not None and client.client_secret is not None:
                context = replace(context, consumer=Consumer(client.client_id, client.client_secret))
        if policy.auth.client_id is None or not names_app(policy):
            return context
        client_id = await self._read(app, "client_id", policy.auth.client_id, context)
        return replace(context, app={"client_id": client_id.reveal()})

    async def _read(self, app: str, key: str, source: CredentialSource, context: Context) -> Secret:
        match source:
            case str():
                value: str | Secret | None = source
                place = "the policy"
            case EnvSource(env=name):
                value = self._environ.get(name)
                place = f"the environment variable {name}"
            case FileSource(file=path):
                value = await asyncio.to_thread(_read_file, path)
                place = f"the file {path}"
            case FieldSource(field=name):
                value = context.fields.get(name)
                place = f"the field {name}"
            case SecretSource(secret=name):
                value = self._typed.get(name) or await self._open(app, name)
                place = f"the secret {name} of the app {app}"
        if not value:
            hint = f"auth.{key} of policies/{app}.toml names it; set it, or change the policy."
            raise PolicyError(Refusal(code="invalid", detail=f"{place[0].upper()}{place[1:]} is not set.", hint=hint))
        return value if isinstance(value, Secret) else Secret(value)

    async def _open(self, app: str, name: str) -> Secret | None:
        sealed = await self._secrets.get(app, name)
        if sealed is None:
            return None
        try:
            return self._safe.open_app_secret(app, name, sealed)
        except KeyringError as error:
            detail = f"The secret {name} of the app {app} can't be opened: {error}."
            raise PolicyError(Refusal(code="internal", detail=detail, hint="Set it again.")) from error


def names_app(policy: Policy) -> bool:
    """Whether a request to the app's API has something of the app itself in it."""
    calls = [dict(call) for call in (policy.lookup, policy.test) if call]
    return any(path[0] == "app" for path in paths([dict(policy.inject), dict(policy.sign or ()), *calls]))


def _read_file(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
