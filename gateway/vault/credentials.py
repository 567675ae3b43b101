"""What a connection keeps: its credentials and fields, and how they are sealed. The only place that opens them."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.keyring import Keyring, KeyringError
from gateway.oauth.answer import TokenAnswer
from gateway.policy.context import SECRET_TOKENS, Context
from gateway.policy.fields import with_defaults
from gateway.policy.model import Policy
from gateway.secret import Secret
from gateway.store.app_secrets import row_name
from gateway.store.rows import ConnectionRow, RevocationRow

TEST_ANSWER_LARGEST = 256 * 1024  # characters of JSON kept for `test.*`; the longest profiles are far below


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Everything of a connection that must not be seen.

    `secrets` are the secret fields; `token` is the token endpoint's answer with the standard names on top, without the
    refresh token; `test` the test API's answer. The refresh token before the current one is kept beside it. `issued_at`
    is in epoch seconds.
    """

    secrets: Mapping[str, Secret] = field(default_factory=dict)
    token: Mapping[str, Any] = field(default_factory=dict, repr=False)
    refresh_token: Secret | None = None
    previous_refresh_token: Secret | None = None
    issued_at: float | None = None
    test: Any = field(default=None, repr=False)

    def renewed(self, answer: TokenAnswer, *, now: float) -> "Credentials":
        """Return the credentials after a token answer.

        What the answer doesn't repeat stays (an instance URL, a team), and so does the refresh token (RFC 6749 §6).
        """
        rotated = answer.refresh_token is not None and answer.refresh_token != self.refresh_token
        token = {**self.token, **answer.raw}
        token.pop("refresh_token", None)
        return replace(
            self,
            token=token,
            refresh_token=answer.refresh_token or self.refresh_token,
            previous_refresh_token=self.refresh_token if rotated else self.previous_refresh_token,
            issued_at=now,
        )

    def without(self, name: str) -> "Credentials":
        """Return the credentials without one of the secret fields."""
        return replace(self, secrets={key: value for key, value in self.secrets.items() if key != name})

    @property
    def access_token(self) -> Secret | None:
        """The access token, if there is one."""
        value = self.token.get("access_token")
        return Secret(value) if isinstance(value, str) and value else None

    @property
    def all_secrets(self) -> tuple[Secret, ...]:
        """Every secret in it, to be taken out of what is shown."""
        told = [value for name, value in self.token.items() if name in SECRET_TOKENS and isinstance(value, str)]
        own = (*map(Secret, told), self.refresh_token, self.previous_refresh_token, *self.secrets.values())
        return tuple(secret for secret in own if secret)

    def context(self, policy: Policy, fields: Mapping[str, str], connection_id: str) -> Context:
        """Return where the policy's templates look their values up."""
        values: dict[str, str | Secret] = {**with_defaults(policy, fields), **self.secrets}
        return Context(fields=values, token=self.token, test=self.test, connection_id=connection_id)


class Safe:
    """Seals and opens the columns of connections, and the apps' secrets, each for its own row."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def seal_fields(self, connection_id: str, fields: Mapping[str, str]) -> bytes:
        """Return the fields for `connections.fields`."""
        return self._seal(fields, "connections", "fields", connection_id)

    def open_fields(self, row: ConnectionRow) -> dict[str, str]:
        """Return the row's fields. Raises `KeyringError`."""
        return self._open(row.fields, "connections", "fields", row.id) if row.fields else {}

    def seal_credentials(self, connection_id: str, credentials: Credentials) -> bytes:
        """Return the credentials for `connections.credentials`."""
        return self._seal(_data(credentials), "connections", "credentials", connection_id)

    def open_credentials(self, row: ConnectionRow) -> Credentials:
        """Return the row's credentials; empty ones where there are none. Raises `KeyringError`."""
        if row.credentials is None:
            return Credentials()
        return _credentials(self._open(row.credentials, "connections", "credentials", row.id))

    def seal_revocation(self, revocation_id: str, credentials: Credentials, fields: Mapping[str, str]) -> bytes:
        """Return what revoking needs for `revocations.sealed`."""
        data = {"credentials": _data(replace(credentials, test=None)), "fields": dict(fields)}
        return self._seal(data, "revocations", "sealed", revocation_id)

    def open_revocation(self, row: RevocationRow) -> tuple[Credentials, dict[str, str]]:
        """Return the credentials to revoke, and the fields. Raises `KeyringError`."""
        if row.sealed is None:
            return Credentials(), {}
        data = self._open(row.sealed, "revocations", "sealed", row.id)
        return _credentials(data["credentials"]), data["fields"]

    def seal_app_secret(self, app: str, name: str, value: Secret) -> bytes:
        """Return an app's secret for `app_secrets.sealed`."""
        row = row_name(app, name)
        return self._keyring.seal(value.reveal().encode(), table="app_secrets", column="sealed", row=row)

    def open_app_secret(self, app: str, name: str, sealed: bytes) -> Secret:
        """Return an app's secret. Raises `KeyringError`."""
        row = row_name(app, name)
        return Secret(self._keyring.open(sealed, table="app_secrets", column="sealed", row=row).decode())

    def keep(self, place: str, value: Secret) -> str:
        """Return a secret as a page may carry it until it is saved: sealed, for this place alone."""
        sealed = self._keyring.seal(value.reveal().encode(), table="pages", column="typed", row=place)
        return base64.urlsafe_b64encode(sealed).decode("ascii")

    def kept(self, place: str, carried: str) -> Secret | None:
        """Return the secret that a page carried; None: it was kept for another place, or under a key that is gone."""
        try:
            sealed = base64.urlsafe_b64decode(carried.encode("ascii", "replace"))
            return Secret(self._keyring.open(sealed, table="pages", column="typed", row=place).decode())
        except (KeyringError, ValueError):
            return None

    def _seal(self, data: Mapping[str, Any], table: str, column: str, row: str) -> bytes:
        # ASCII only: a provider's lone surrogate is JSON, but not UTF-8.
        return self._keyring.seal(json.dumps(data).encode("ascii"), table=table, column=column, row=row)

    def _open(self, blob: bytes, table: str, column: str, row: str) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self._keyring.open(blob, table=table, column=column, row=row))
        return data


def _data(credentials: Credentials) -> dict[str, Any]:
    """Return the credentials as JSON has them."""
    test = credentials.test
    if test is not None and len(json.dumps(test)) > TEST_ANSWER_LARGEST:
        test = None
    return {
        "secrets": {name: secret.reveal() for name, secret in credentials.secrets.items()},
        "token": dict(credentials.token),
        "refresh_token": _reveal(credentials.refresh_token),
        "previous_refresh_token": _reveal(credentials.previous_refresh_token),
        "issued_at": credentials.issued_at,
        "test": test,
    }


def _credentials(data: Mapping[str, Any]) -> Credentials:
    """Return what `_data` was made of."""
    return Credentials(
        secrets={name: Secret(value) for name, value in data["secrets"].items()},
        token=data["token"],
        refresh_token=_secret(data["refresh_token"]),
        previous_refresh_token=_secret(data["previous_refresh_token"]),
        issued_at=data["issued_at"],
        test=data["test"],
    )


def _reveal(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()


def _secret(value: str | None) -> Secret | None:
    return None if value is None else Secret(value)
