"""A test call with a policy that isn't saved yet. Nothing of it is stored, and what comes back holds no secret."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from gateway.errors import ClientError, Refusal
from gateway.http.scrub import Scrubber
from gateway.policy.model import Policy
from gateway.secret import MASK, Secret
from gateway.store.app_secrets import AppSecrets
from gateway.store.rows import ConnectionRow
from gateway.vault.connecting import DIRECT, ask, hidden, validated
from gateway.vault.credentials import Credentials, Safe
from gateway.vault.probe import Calls, TestResult
from gateway.vault.provider import Provider, WayOut
from gateway.vault.sources import Sources

NO_CONNECTION = ""
"""What `connection.id` is while there is no connection."""


class Trying:
    """Makes tries.

    `clock` gives epoch seconds, `entropy(n)` random bytes; `patience` is how many seconds a token endpoint may take.
    """

    def __init__(
        self,
        *,
        secrets: AppSecrets,
        safe: Safe,
        egress: WayOut,
        environ: Mapping[str, str],
        clock: Callable[[], float],
        entropy: Callable[[int], bytes],
        patience: float,
    ) -> None:
        self._secrets = secrets
        self._safe = safe
        self._egress = egress
        self._environ = environ
        self._clock = clock
        self._entropy = entropy
        self._patience = patience

    async def with_connection(self, policy: Policy, row: ConnectionRow) -> TestResult:
        """Make the call with what a connection has. Raises `PolicyError` where it can't be made."""
        sources = Sources(secrets=self._secrets, safe=self._safe, environ=self._environ)
        return await self._call(
            policy, self._safe.open_credentials(row), self._safe.open_fields(row), row, sources=sources
        )

    async def by_hand(
        self, app: str, policy: Policy, given: Mapping[str, str], typed: Mapping[str, Secret]
    ) -> TestResult:
        """Make the call with fields that were filled in for it alone, and a token that is asked for with them.

        `typed` are secrets of the app that aren't saved. Raises `ClientError` (`invalid`), `AuthorizationServerError`,
        `PolicyError`, `StoreError`.
        """
        if policy.auth.grant not in DIRECT:
            detail = f"{policy.name} is connected by a person in a browser, so there is no token to try it with yet."
            raise ClientError(Refusal(code="invalid", detail=detail, hint="Save it, connect once, and try it then."))
        values = validated(policy, given)
        credentials = Credentials(secrets=hidden(policy, values), issued_at=self._clock())
        fields = {name: value for name, value in values.items() if name not in credentials.secrets}
        sent: tuple[Secret, ...] = ()
        sources = Sources(secrets=self._secrets, safe=self._safe, environ=self._environ, typed=typed)
        if policy.auth.grant.has_token:
            context = credentials.context(policy, fields, NO_CONNECTION)
            provider = Provider(
                egress=self._egress,
                sources=sources,
                clock=self._clock,
                entropy=self._entropy,
                patience=self._patience,
            )
            answer = await ask(provider, app, policy, context)
            client = await sources.client(app, policy, context)
            sent = () if client is None or client.client_secret is None else (client.client_secret,)
            credentials = credentials.renewed(answer, now=self._clock())
        return await self._call(policy, credentials, fields, app, sources=sources, sent=sent)

    async def _call(
        self,
        policy: Policy,
        credentials: Credentials,
        fields: Mapping[str, str],
        of: ConnectionRow | str,
        *,
        sources: Sources,
        sent: tuple[Secret, ...] = (),
    ) -> TestResult:
        """Make the call. `sent` are secrets that the provider knows beside those that the call has."""
        app, connection = (of, NO_CONNECTION) if isinstance(of, str) else (of.app, of.id)
        context = credentials.context(policy, fields, connection)
        secrets = (*credentials.all_secrets, *sent)
        calls = Calls(egress=self._egress, sources=sources, clock=self._clock, entropy=self._entropy)
        result = await calls.test(app, policy, context, secrets=secrets)
        return replace(result, data=masked(result.data, result.secrets))


def masked(value: Any, secrets: Iterable[Secret]) -> Any:
    """Return JSON in which every secret is masked, wherever it stands and in every spelling (`http.scrub`)."""
    return _masked(value, Scrubber(secrets))


def _masked(value: Any, scrubber: Scrubber) -> Any:
    match value:
        case str():
            return _text(value, scrubber)
        case dict():
            return {_text(key, scrubber): _masked(item, scrubber) for key, item in value.items()}
        case list():
            return [_masked(item, scrubber) for item in value]
        case bool() | None:
            return value
    return value if _text(str(value), scrubber) == str(value) else MASK  # a number may be a secret, too


def _text(text: str, scrubber: Scrubber) -> str:
    hidden_text = scrubber.masked(text.encode("utf-8", "surrogatepass"), MASK.encode())
    return hidden_text.decode("utf-8", "surrogatepass")
