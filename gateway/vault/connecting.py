"""From fields to a living connection: the token, the test call, the label, the account; then one write."""

import asyncio
import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from gateway.errors import AuthorizationServerError, ClientError, PolicyError, Refusal
from gateway.oauth.answer import TokenAnswer, TokenRefused
from gateway.policy.context import Context
from gateway.policy.fields import validate_fields
from gateway.policy.found import FoundInvalid, Stage, found_at
from gateway.policy.inject import render
from gateway.policy.model import Grant, Policy
from gateway.policy.template import MissingValue
from gateway.secret import Secret
from gateway.store.alongside import Alongside, NoRevocations
from gateway.store.connections import Connections
from gateway.store.failures import ConflictError
from gateway.store.rows import ConnectionRow, Status
from gateway.vault.chronicle import Chronicle
from gateway.vault.commit import sealed_anew
from gateway.vault.credentials import Credentials, Safe
from gateway.vault.label import label_of, unique_id_of
from gateway.vault.naming import called
from gateway.vault.probe import Calls
from gateway.vault.provider import Provider
from gateway.vault.timing import renew_at

CONNECTION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)  # a Basic user name, a path segment
DIRECT = (
    Grant.CLIENT_CREDENTIALS,
    Grant.PASSWORD,
    Grant.JWT_BEARER,
    Grant.JWT,
    Grant.CUSTOM,
    Grant.API_KEY,
    Grant.BASIC,
    Grant.NONE,
)
_FILLED_IN = "Check what was filled in."
_SET_UP = "Whoever set the app up should compare its test API with the service's documentation."
TRIES = 3  # of the write, where two people connect the same account at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """The connection as stored; `created` is False where it was there before: same account, or same id."""

    row: ConnectionRow
    created: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """What a new or renewed connection is made of. `wanted` is the id that was asked for."""

    app: str
    wanted: str | None
    label: str
    unique_id: str | None
    fields: Mapping[str, str]
    credentials: Credentials
    expires_at: float | None
    actor: str
    policy: Policy


class _Whole:
    """What a connection is made of, as it comes together."""

    def __init__(
        self,
        policy: Policy,
        credentials: Credentials,
        fields: Mapping[str, str],
        draft_id: str,
        callback: Mapping[str, str],
    ) -> None:
        self.policy = policy
        self.credentials = credentials
        self.fields = dict(fields)
        self.lookup: Any = None
        self._draft_id = draft_id
        self._callback = callback

    @property
    def context(self) -> Context:
        """Where templates look their values up by now."""
        context = self.credentials.context(self.policy, self.fields, self._draft_id)
        return replace(context, lookup=self.lookup, callback=self._callback)

    def add(self, found: Mapping[str, str | Secret]) -> None:
        """Take fields up that were found."""
        secrets = {name: value for name, value in found.items() if isinstance(value, Secret)}
        self.fields |= {name: value for name, value in found.items() if isinstance(value, str)}
        self.credentials = replace(self.credentials, secrets={**self.credentials.secrets, **secrets})


class Connecting:
    """Makes connections. `entropy(n)` gives n random bytes, `clock` epoch seconds."""

    def __init__(
        self,
        *,
        connections: Connections,
        safe: Safe,
        provider: Provider,
        calls: Calls,
        chronicle: Chronicle,
        clock: Callable[[], float],
        entropy: Callable[[int], bytes],
    ) -> None:
        self._connections = connections
        self._safe = safe
        self._provider = provider
        self._calls = calls
        self._chronicle = chronicle
        self._clock = clock
        self._entropy = entropy

    async def connect(
        self,
        app: str,
        policy: Policy,
        *,
        connection_id: str | None,
        given: Mapping[str, str],
        actor: str,
        answer: TokenAnswer | None = None,
        callback: Mapping[str, str] | None = None,
    ) -> Connected:
        """Connect an account; nothing is written unless everything went well.

        `given` are the field values, secret ones too. `answer` is what the token endpoint gave for a code, `callback`
        what came with that; without it the grant must be one that needs no browser. Raises `ClientError` (`invalid`,
        `conflict`), `AuthorizationServerError` (`refresh_failed`), `PolicyError`, `StoreError`.
        """
        if answer is None and policy.auth.grant not in DIRECT:
            detail = f"{policy.name} is connected by a person in a browser ({policy.auth.grant.value})."
            raise ClientError(Refusal(code="invalid", detail=detail, hint="Make a connect link."))
        standing = await self.standing(app, connection_id)
        values = validated(policy, given)
        now = self._clock()
        draft_id = connection_id or self._new_id(app)
        credentials = Credentials(secrets=hidden(policy, values), issued_at=now)
        fields = {name: value for name, value in values.items() if name not in credentials.secrets}
        whole = _Whole(policy, credentials, fields, draft_id, callback or {})
        await self._find(app, whole, Stage.CALLBACK)
        if answer is None and policy.auth.grant.has_token:
            answer = await ask(self._provider, app, policy, whole.context)
        if answer is not None:
            whole.credentials = whole.credentials.renewed(answer, now=now)
        await self._find(app, whole, Stage.TOKEN)
        await self._look_up(app, whole)
        label, unique_id = await self._test(app, whole)
        credentials, fields = whole.credentials, whole.fields
        draft = _Draft(
            app=app,
            wanted=standing.id if standing else connection_id,
            label=label,
            unique_id=unique_id,
            fields=_kept_fields(policy, fields),
            credentials=_kept(policy, credentials),
            expires_at=answer.expires_at if answer else None,
            actor=actor,
            policy=policy,
        )
        return await self._write(draft, draft_id)

    async def standing(self, app: str, connection_id: str | None) -> ConnectionRow | None:
        """Return the connection that is to be authorised again, if there is one of this id. Raises `ClientError`."""
        if connection_id is None:
            return None
        if not CONNECTION_ID.fullmatch(connection_id):
            detail = "A connection id is 1 to 64 letters, digits, dots, - and _, and begins with a letter or a digit."
            raise ClientError(Refusal(code="invalid", detail=detail))
        standing = await self._connections.get(connection_id)
        if standing is not None and standing.app != app:
            detail = f"The connection {connection_id} belongs to the app {standing.app}."
            raise ClientError(Refusal(code="conflict", detail=detail, hint="Choose another id."))
        return standing

    async def _find(self, app: str, whole: "_Whole", stage: Stage) -> None:
        """Add the fields that are found by now."""
        policy = whole.policy
        try:
            found = await asyncio.to_thread(found_at, policy, whole.context, stage)  # a script may take 50 ms
        except MissingValue as error:
            detail = f"{policy.name} did not say what is needed: {error}."
            raise PolicyError(Refusal(code="invalid", detail=detail, hint=_changed(app))) from error
        except FoundInvalid as error:
            detail = f"{policy.name} can't be connected: {error}."
            raise ClientError(
                Refusal(code="invalid", detail=detail, hint=f"Nothing was connected. {_SET_UP}")
            ) from error
        except ValueError as error:
            raise PolicyError(
                Refusal(code="invalid", detail=f"The policy of {app} can't be used: {error}.", hint=_changed(app))
            ) from error
        whole.add(found)

    async def _look_up(self, app: str, whole: "_Whole") -> None:
        """Make the look-up, and keep what is found in its answer."""
        policy, known = whole.policy, whole.credentials.all_secrets
        result = await self._calls.look_up(app, policy, whole.context, secrets=known)
        if not result.ok:
            raise ClientError(Refusal(code="invalid", detail=result.message, hint=f"Nothing was connected. {_SET_UP}"))
        whole.lookup = result.data
        await self._find(app, whole, Stage.LOOKUP)

    async def _test(self, app: str, whole: "_Whole") -> tuple[str, str | None]:
        """Run the test call, and return the label and the account's identifier."""
        policy = whole.policy
        known = whole.credentials.all_secrets
        result = await self._calls.test(app, policy, whole.context, secrets=known)
        if not result.ok:
            hint = "Nothing was connected. " + (_FILLED_IN if policy.fields else _SET_UP)
            raise ClientError(Refusal(code="invalid", detail=result.message, hint=hint))
        whole.credentials = replace(whole.credentials, test=result.data)
        await self._find(app, whole, Stage.TEST)
        context = whole.context
        try:
            if policy.test is None or any(field.source for field in policy.fields):  # else the test call has shown it
                await asyncio.to_thread(render, policy, await self._calls.with_app(app, policy, context))
        except ValueError as error:
            detail = f"What {policy.name} needs in every request can't be made: {error}."
            hint = f"Nothing was connected. Check what was filled in, and policies/{app}.toml."
            raise PolicyError(Refusal(code="invalid", detail=detail, hint=hint)) from error
        try:
            label, unique_id = await asyncio.to_thread(_names, policy, context)  # a script may take 50 ms
        except MissingValue as error:
            detail = f"The policy of {app} can't tell accounts apart: {error}, and connection.unique_id needs it."
            raise PolicyError(Refusal(code="invalid", detail=detail, hint=f"Change policies/{app}.toml.")) from error
        except ValueError as error:
            detail = f"The policy of {app} can't be used: {error}."
            raise PolicyError(Refusal(code="invalid", detail=detail, hint=f"Change policies/{app}.toml.")) from error
        return label, unique_id

    async def _write(self, draft: _Draft, draft_id: str) -> Connected:
        """Store it over the connection of the same account or id, else as a new one."""
        for _ in range(TRIES):
            target = await self._connections.find(draft.app, draft.unique_id) if draft.unique_id else None
            if target is None and draft.wanted is not None:
                target = await self.standing(draft.app, draft.wanted)
                _raise_if_anothers(draft, target)
            try:
                if target is None:
                    await sealed_anew(partial(self._insert, draft_id, draft))
                    return await self._connected(draft_id, created=True)
                if await sealed_anew(partial(self._update, target, draft)):
                    return await self._connected(target.id, created=False)
            except ConflictError:  # somebody else connected this account, or took this id, just now
                continue
        detail = f"The account is being connected by somebody else at the same time, or {draft_id} was taken."
        raise ClientError(Refusal(code="conflict", detail=detail, hint="Try again."))

    async def _update(self, target: ConnectionRow, draft: _Draft) -> bool:
        """Write over the row; False: since it was looked at, it has become another account's, or active."""
        connection_id = target.id
        # Setting credentials is taking over: a refresh that is under way with the old ones can't write over these.
        return await self._connections.update(
            connection_id,
            seen={"status": target.status, "unique_id": target.unique_id, "label": target.label},
            **called(target, draft.label or connection_id, same_account=_is_same_account(draft, target)),
            unique_id=draft.unique_id,
            status=Status.ACTIVE,
            reason=None,
            fields=self._safe.seal_fields(connection_id, draft.fields),
            credentials=self._safe.seal_credentials(connection_id, draft.credentials),
            expires_at=draft.expires_at,
            renew_at=self._renew_at(connection_id, draft),
            retry_at=None,
            failures=0,
            updated_at=self._clock(),
            # What was to be revoked is left alone: with many providers that would end the new tokens as well.
            alongside=(NoRevocations(connection_id), *self._told("connection.updated", connection_id, draft)),
        )

    async def _insert(self, connection_id: str, draft: _Draft) -> None:
        now = self._clock()
        await self._connections.insert(
            ConnectionRow(
                id=connection_id,
                app=draft.app,
                label=draft.label or connection_id,
                unique_id=draft.unique_id,
                status=Status.ACTIVE,
                fields=self._safe.seal_fields(connection_id, draft.fields),
                credentials=self._safe.seal_credentials(connection_id, draft.credentials),
                token_version=1,
                expires_at=draft.expires_at,
                renew_at=self._renew_at(connection_id, draft),
                created_at=now,
                updated_at=now,
                created_by=draft.actor,
            ),
            alongside=self._told("connection.created", connection_id, draft),
        )

    def _renew_at(self, connection_id: str, draft: _Draft) -> float | None:
        return renew_at(
            connection_id,
            draft.policy,
            draft.credentials,
            expires_at=draft.expires_at,
            updated_at=self._clock(),
        )

    def _told(self, kind: str, connection_id: str, draft: _Draft) -> tuple[Alongside, ...]:
        label = draft.label or connection_id
        return self._chronicle.tell(kind, actor=draft.actor, app=draft.app, connection=connection_id, label=label)

    async def _connected(self, connection_id: str, *, created: bool) -> Connected:
        row = await self._connections.get(connection_id)
        if row is None:
            detail = f"The connection {connection_id} was deleted while it was made."
            raise ClientError(Refusal(code="conflict", detail=detail, hint="Try again."))
        return Connected(row=row, created=created)

    def _new_id(self, app: str) -> str:
        """Return an id such as `github-7f3k2q`: readable, and not to be guessed by counting."""
        tail = base64.b32encode(self._entropy(5)).decode().lower()[:6]
        return f"{app[:57]}-{tail}"


async def ask(provider: Provider, app: str, policy: Policy, context: Context) -> TokenAnswer:
    """Ask for a token, as the client or with the password. Raises `AuthorizationServerError`, `PolicyError`."""
    answer = await provider.ask(app, policy, context)
    if isinstance(answer, TokenRefused):
        retry = None if answer.retry_after is None else int(answer.retry_after) + 1
        refusal = Refusal(
            code="refresh_failed", detail=f"{policy.name} gave no token. {answer.detail}", retry_after=retry
        )
        raise AuthorizationServerError(refusal)
    return answer


def _raise_if_anothers(draft: _Draft, standing: ConnectionRow | None) -> None:
    """Refuse another account than the one whose connection is to be authorised again.

    Programs hold the right to use the connection's id: they would go on under somebody else's name, unnoticed.
    """
    if standing is None or standing.status is Status.DISCONNECTED:
        return
    if draft.unique_id is None or standing.unique_id in (None, draft.unique_id):
        return
    detail = (
        f"This is another account, {draft.label or 'without a name'}, than that of {standing.id}: {standing.label}."
    )
    hint = "Use the account that the connection belongs to, or disconnect it first."
    raise ClientError(Refusal(code="conflict", detail=detail, hint=hint))


def _is_same_account(draft: _Draft, target: ConnectionRow) -> bool:
    """Whether the connection stays whose it was; another account's was refused, but for one that had been ended."""
    if target.status is not Status.DISCONNECTED:
        return True
    return draft.unique_id is not None and target.unique_id == draft.unique_id


def _changed(app: str) -> str:
    return f"Nothing was connected. Change policies/{app}.toml."


def _names(policy: Policy, context: Context) -> tuple[str, str | None]:
    return label_of(policy, context), unique_id_of(policy, context)


def validated(policy: Policy, given: Mapping[str, str]) -> dict[str, str]:
    """Return the field values with defaults filled in. Raises `ClientError` (`invalid`) with every fault."""
    values, errors = validate_fields(policy, given)
    if errors:
        listed = tuple({"path": f"fields.{name}", "message": message} for name, message in errors.items())
        detail = (
            "Some fields are not right: " + "; ".join(f"{name} {message}" for name, message in errors.items()) + "."
        )
        raise ClientError(Refusal(code="invalid", detail=detail, errors=listed))
    return values


def hidden(policy: Policy, values: Mapping[str, str]) -> dict[str, Secret]:
    """Return the values that must not be seen: secret fields, one-time ones, and a password in any case."""
    hidden = {field.name for field in policy.fields if field.secret or field.once} | {"password"}
    return {name: Secret(value) for name, value in values.items() if name in hidden}


def _kept_fields(policy: Policy, fields: Mapping[str, str]) -> dict[str, str]:
    once = {field.name for field in policy.fields if field.once}
    return {name: value for name, value in fields.items() if name not in once}


def _kept(policy: Policy, credentials: Credentials) -> Credentials:
    """Return what is to be stored: nothing that is used once, and no password where a refresh token does its work."""
    for field in policy.fields:
        if field.once:
            credentials = credentials.without(field.name)
    if policy.auth.grant is Grant.PASSWORD and credentials.refresh_token is not None:
        credentials = credentials.without("password")
    return credentials
