"""The vault: what the data plane, the pages, the API and the command line use of all this."""

import asyncio
import os
import random as random_module
import secrets
import socket
from collections.abc import Callable, Coroutine, Mapping
from random import Random
from typing import Any, TypeVar

import structlog

from gateway.audit import Audit
from gateway.errors import AuthorizationServerError, ClientError, Refusal
from gateway.keyring import Keyring, KeyringError
from gateway.oauth.answer import TokenAnswer
from gateway.policy.model import Policy
from gateway.policy.request import ENTROPY
from gateway.secret import Secret
from gateway.store.rows import ConnectionRow, RevocationRow, Status
from gateway.store.store import Store
from gateway.vault.chronicle import Chronicle
from gateway.vault.commit import sealed_anew
from gateway.vault.connecting import Connected, Connecting
from gateway.vault.credentials import Credentials, Safe
from gateway.vault.explaining import explain
from gateway.vault.live import Live, compile_live
from gateway.vault.lives import Lives
from gateway.vault.logins import Logins
from gateway.vault.naming import names_of, renamed
from gateway.vault.parting import Partings
from gateway.vault.probe import Calls, TestResult
from gateway.vault.provider import CALL_SECONDS, Provider, WayOut
from gateway.vault.refusals import paused, stopping
from gateway.vault.renewal import OnRefresh, Outcomes, Renewals, Why
from gateway.vault.sources import Sources
from gateway.vault.strikes import Strikes
from gateway.vault.sweep import Apps, Sweep
from gateway.vault.trying import Trying
from gateway.vault.upkeep import Chore, Upkeep
from gateway.vault.webhook import Deliverer, Webhook

UNAUTHORIZED = 401
FRESH_TRIES = 3  # refreshes for one request, where each new token has expired by the time it is here

T = TypeVar("T")
_log = structlog.get_logger()


class Vault:
    """The life of every connection. `clock` gives epoch seconds; `random` is for jitter, `entropy(n)` for ids.

    `patience` is how many seconds a provider may take while a person waits. `announces`: there is a webhook to be told.
    """

    def __init__(
        self,
        *,
        store: Store,
        keyring: Keyring,
        catalog: Apps,
        egress: WayOut,
        audit: Audit,
        clock: Callable[[], float],
        random: Random | None = None,
        entropy: Callable[[int], bytes] = secrets.token_bytes,
        environ: Mapping[str, str] = os.environ,
        public_url: str = "",
        metrics: Outcomes | None = None,
        on_refresh: OnRefresh | None = None,
        announces: bool = False,
        patience: float = CALL_SECONDS,
    ) -> None:
        self._store = store
        self._policies = catalog
        self._egress = egress
        self._audit = audit
        self._clock = clock
        self._random = random or random_module.SystemRandom()
        self._public_url = public_url
        self._safe = Safe(keyring)
        self._trying = Trying(
            secrets=store.secrets,
            safe=self._safe,
            egress=egress,
            environ=environ,
            clock=clock,
            entropy=entropy,
            patience=patience,
        )
        self._sources = Sources(secrets=store.secrets, safe=self._safe, environ=environ)
        self._entropy = entropy
        self._calls = Calls(egress=egress, sources=self._sources, clock=clock, entropy=entropy)
        self._provider = Provider(egress=egress, sources=self._sources, clock=clock, entropy=entropy, patience=patience)
        self.logins = Logins(self._provider)
        self._lives = Lives(load=store.connections.get, compile_row=self._compile)
        self._chronicle = Chronicle(audit, announces=announces, clock=clock, entropy=entropy)
        self._partings = Partings(
            revocations=store.revocations,
            safe=self._safe,
            policies=catalog,
            provider=self._provider,
            chronicle=self._chronicle,
            clock=clock,
            random=self._random,
            entropy=entropy,
        )
        self._renewals = Renewals(
            connections=store.connections,
            safe=self._safe,
            policies=catalog,
            provider=self._provider,
            keep=self._lives.put,
            chronicle=self._chronicle,
            orphaned=self._orphaned,
            owner=f"{socket.gethostname()}:{os.getpid()}:{entropy(4).hex()}",
            clock=clock,
            random=self._random,
            public_url=public_url,
            outcomes=metrics,
            on_refresh=on_refresh,
        )
        self._connecting = Connecting(
            connections=store.connections,
            safe=self._safe,
            provider=self._provider,
            calls=self._calls,
            chronicle=self._chronicle,
            clock=clock,
            entropy=entropy,
        )
        self._strikes = Strikes(clock)
        self._held: set[tuple[str, int]] = set()  # connection and token version: refused, and being replaced
        self._upkeep: Upkeep | None = None
        self._work: set[asyncio.Task[Any]] = set()
        self.peek: Callable[[str], Live | None] = self._lives.peek
        """Return the Live of a connection if it is loaded; None: ask `live`. No waiting, no I/O."""

    # ------------------------------------------------------------------ the data plane

    async def live(self, connection_id: str) -> Live | None:
        """Return the Live of a connection, from the store if need be; None: unknown or disconnected.

        Raises `StoreError`. A Live with a `refusal` exists and can't be used.
        """
        return await self._lives.find(connection_id)

    async def fresh(self, live: Live) -> Live:
        """Return a Live whose token is not known to be expired: this one, or its successor.

        Raises `AuthorizationServerError`: `reauthorization_required`, or `refresh_failed` with `retry_after`; at once
        while the provider isn't to be asked again yet. Raises what stands in `live.refusal` too.
        """
        for _ in range(FRESH_TRIES):
            if live.refusal is not None:
                raise AuthorizationServerError(live.refusal)
            now = self._clock()
            if live.expires_at is None or live.expires_at > now:
                return live
            newer = self._newer(live)
            if newer is None:
                _raise_if_paused(live, now)
                newer = await self._fly(live, Why.EXPIRED)
            live = newer
        detail = f"The provider's tokens for {live.connection_id} have expired when they arrive."
        raise AuthorizationServerError(Refusal(code="refresh_failed", detail=detail, retry_after=1))

    def renew_soon(self, live: Live) -> None:
        """Begin to renew a token that is near its expiry, in the background. Cheap: a comparison as a rule."""
        if live.renew_at is None or self._clock() < live.renew_at:
            return
        if not self._renewals.is_flying(live.connection_id) and self._newer(live) is None:
            self._renewals.start(live.connection_id, seen=live.token_version, why=Why.AHEAD)

    async def after_401(self, live: Live) -> Live | None:
        """Return what to send again with after upstream answered 401; None: let the 401 through.

        A token older than the stored one is only re-read. The current one is refreshed, once for however many ask.
        None: there is nothing to refresh with, or upstream refuses new tokens too (see `refused_again`).
        Raises as `fresh`.
        """
        newer = self._newer(live)
        if newer is not None:
            return await self.fresh(newer)
        if not live.refreshable or self._strikes.are_out(live.connection_id):
            return None
        _raise_if_paused(live, self._clock())
        return await self._fly(live, Why.REJECTED)

    def refused_again(self, live: Live) -> None:
        """Note that upstream answered 401 to a token that was refreshed for its sake.

        Then the token isn't what is wrong, and the provider isn't asked for another one at every request.
        """
        self._strikes.add(live.connection_id)

    def forget(self, kind: str, key: str) -> None:
        """Drop what a change made stale: the store's feed (`connection`, `everything`), or the catalog's (`app`)."""
        match kind:
            case "connection":
                self._lives.forget(key)
                self._renewals.wake(key)
            case "app" | "policy":
                self._lives.forget_app(key)
            case "upkeep":
                if self._upkeep is not None:
                    self._upkeep.wake()
            case "everything":
                self._lives.forget_all()
                self._renewals.wake_all()
            case "secret":
                self._lives.forget_app(key.partition("/")[0])  # an id of the client may be one
            case _:
                pass  # clients: nothing of them is kept here

    # ------------------------------------------------------------------ people, the API, the command line

    async def connect(
        self,
        app: str,
        *,
        connection_id: str | None = None,
        fields: Mapping[str, str] | None = None,
        secrets: Mapping[str, Secret | str] | None = None,
        actor: str,
        answer: TokenAnswer | None = None,
        callback: Mapping[str, str] | None = None,
    ) -> Connected:
        """Connect an account, or an account again; nothing is stored unless token and test call went well.

        `answer` is the token endpoint's answer for an authorization code, or an implicit grant's fragment, and
        `callback` the parameters that came with the code; without it
        the grant must need no browser. A connection that is there under this id isn't given to another account; a
        disconnected one may be. It goes on when the caller goes away. Raises `ClientError` (`not_found`, `invalid`
        with the fields' errors, `conflict`), `AuthorizationServerError`, `PolicyError`, `StoreError`.
        """
        given = dict(fields or {})
        for name, value in (secrets or {}).items():
            given[name] = value.reveal() if isinstance(value, Secret) else value

        async def work() -> Connected:
            done = await self._connecting.connect(
                app,
                self._policy(app),
                connection_id=connection_id,
                given=given,
                actor=actor,
                answer=answer,
                callback=callback,
            )
            self._lives.forget(done.row.id)
            return done

        return await self._finish(work())

    async def check_id(self, app: str, connection_id: str | None) -> None:
        """Raise what `connect` would of this id, before a person signs in for it: `ClientError`, `StoreError`."""
        await self._connecting.standing(app, connection_id)

    async def refresh(self, connection_id: str, *, actor: str = "") -> Live:
        """Get a new token now, whatever the state. Raises `ClientError` (`not_found`, `invalid`) and as `fresh`."""
        row = await self._row(connection_id)
        live = await self._compile(row)
        if row.status is Status.ACTIVE and live.refusal is None and not live.refreshable:
            detail = f"The connection {connection_id} has no token that could be refreshed."
            raise ClientError(Refusal(code="invalid", detail=detail))
        fresh = await self._fly(live, Why.ASKED)
        await self._audit.record("token.refreshed", actor=actor, app=row.app, connection=row.id)
        return fresh

    async def test(self, connection_id: str, *, actor: str = "") -> TestResult:
        """Run the test call, with a refresh if it is needed. Raises `ClientError` (`not_found`) and as `fresh`."""
        row = await self._row(connection_id)
        live = await self._usable(connection_id)
        result = await self._run_test(connection_id)
        if result.status == UNAUTHORIZED and await self.after_401(live) is not None:
            result = await self._run_test(connection_id)
        await self._audit.record(
            "connection.tested", actor=actor, app=row.app, connection=row.id, ok=result.ok, status=result.status
        )
        return result

    async def attempt(
        self,
        app: str,
        policy: Policy,
        *,
        connection_id: str | None = None,
        given: Mapping[str, str] | None = None,
        typed: Mapping[str, Secret] | None = None,
        actor: str,
    ) -> TestResult:
        """Make the test call of a policy that isn't saved, with a connection or with fields of its own (`Trying`).

        The answer's secrets are masked. It is in the trail: the credentials go where that policy says. Raises
        `ClientError` (`not_found`, `invalid`), `AuthorizationServerError`, `PolicyError`, `StoreError`.
        """
        if connection_id is None:
            result = await self._trying.by_hand(app, policy, given or {}, typed or {})
        else:
            row = await self._row_of(app, connection_id)
            await self._usable(row.id)
            result = await self._trying.with_connection(policy, await self._row(connection_id))
        await self._audit.record(
            "app.tried",
            actor=actor,
            app=app,
            connection=connection_id,
            target=result.target,
            ok=result.ok,
            status=result.status,
        )
        return result

    async def disconnect(self, connection_id: str, *, actor: str) -> None:
        """End a connection: here at once, at the provider in the background. Raises `ClientError` (`not_found`)."""

        async def work() -> None:
            while not await sealed_anew(end):
                pass  # its tokens were replaced in between: the new ones are those to be revoked

        async def end() -> bool:
            row = await self._row(connection_id)
            told = self._chronicle.tell("connection.disconnected", actor=actor, app=row.app, connection=row.id)
            revocation = self._revocation(row, actor)
            ended = await self._store.connections.update(
                connection_id,
                seen={"token_version": row.token_version},
                status=Status.DISCONNECTED,
                reason=None,
                credentials=None,
                expires_at=None,
                renew_at=None,
                retry_at=None,
                failures=0,
                updated_at=self._clock(),
                alongside=told if revocation is None else (*told, revocation),
            )
            if ended:
                self._lives.forget(connection_id)
                self._renewals.wake(connection_id)
                if revocation is not None:
                    self._partings.begin(revocation)
            return ended

        await self._finish(work())

    async def rename(self, connection_id: str, label: str, *, actor: str) -> None:
        """Give a connection a label of a person's choice; an empty one is the account's own again.

        Raises `ClientError` (`not_found`, `invalid`).
        """
        while True:
            row = await self._row(connection_id)
            names = renamed(row, label)
            if names == names_of(row):
                return
            told = self._chronicle.tell(
                "connection.renamed", actor=actor, app=row.app, connection=row.id, label=names["label"]
            )
            if await self._store.connections.update(connection_id, seen=names_of(row), alongside=told, **names):
                return

    async def open_fields(self, connection_id: str) -> dict[str, str]:
        """Return what was filled in for a connection, without its secrets; empty where there is no such connection."""
        row = await self._store.connections.get(connection_id)
        return {} if row is None else self._safe.open_fields(row)

    async def explain(
        self, connection_id: str, method: str, url: str, *, policy: Policy | None = None
    ) -> dict[str, Any]:
        """Return what would be done with a request, secrets masked; `policy` is one that isn't saved.

        Raises `ClientError` (`not_found`).
        """
        if policy is None:
            live = await self.live(connection_id)
        else:
            row = await self._row(connection_id)
            live = await compile_live(row, policy, safe=self._safe, sources=self._sources, public_url=self._public_url)
        if live is None:
            raise ClientError(_not_found(connection_id))
        return explain(live, method.upper(), url, now=self._clock(), random=self._entropy(ENTROPY))

    # ------------------------------------------------------------------ beside

    def upkeep(self, webhook: Webhook | None = None) -> Upkeep:
        """Return what renews, revokes and tells the webhook in the background; one process of a server runs it."""
        sweep = Sweep(
            due=self._store.due,
            meta=self._store.meta,
            safe=self._safe,
            policies=self._policies,
            renewals=self._renewals,
            clock=self._clock,
        )
        chores: list[Chore] = [sweep, self._partings]
        if webhook is not None:
            chores.append(
                Deliverer(
                    webhook,
                    deliveries=self._store.deliveries,
                    egress=self._egress,
                    audit=self._audit,
                    clock=self._clock,
                    random=self._random,
                )
            )
        self._upkeep = Upkeep(chores, clock=self._clock, random=self._random)
        return self._upkeep

    async def close(self) -> None:
        """End well: whatever may have a new token in its hands is awaited until that is stored."""
        await self._renewals.close()
        await asyncio.gather(*self._work, return_exceptions=True)
        await self._partings.close()

    # ------------------------------------------------------------------ inside

    def _newer(self, live: Live) -> Live | None:
        """Return the Live of this process if its token is newer than this one's."""
        standing = self.peek(live.connection_id)
        return standing if standing is not None and standing.token_version > live.token_version else None

    async def _fly(self, live: Live, why: Why) -> Live:
        """Wait for the connection's flight. Whoever waits may go away; the flight goes on."""
        flight = self._renewals.start(live.connection_id, seen=live.token_version, why=why)
        if why is Why.REJECTED:
            self._hold_back(live, flight)
        try:
            outcome = await asyncio.shield(flight)
        except asyncio.CancelledError:
            if not flight.cancelled():  # it is the caller that goes away
                raise
            outcome = stopping()  # ended by `close` before it had begun
        if isinstance(outcome, Refusal):
            raise AuthorizationServerError(outcome)
        return outcome

    def _hold_back(self, live: Live, flight: asyncio.Task[Live | Refusal]) -> None:
        """Let requests wait for a new token while the one that upstream refused is being replaced.

        If there comes none, the old one counts as before: upstream may have had another reason.
        """
        held = (live.connection_id, live.token_version)
        if held in self._held:
            return
        self._held.add(held)
        if self.peek(live.connection_id) is not live:
            self._lives.forget(live.connection_id)  # whatever is read from here on is held
        expires_at, live.expires_at = live.expires_at, self._clock()

        def release(_: asyncio.Task[Live | Refusal]) -> None:
            self._held.discard(held)
            live.expires_at = expires_at
            left = self.peek(live.connection_id)
            if left is not None and left.token_version == live.token_version:
                self._lives.forget(live.connection_id)  # there came no newer one: read again, it is as it was

        flight.add_done_callback(release)

    async def _usable(self, connection_id: str) -> Live:
        live = await self.live(connection_id)
        if live is None:
            raise ClientError(_not_found(connection_id))
        return await self.fresh(live)

    async def _run_test(self, connection_id: str) -> TestResult:
        row = await self._row(connection_id)
        policy = self._policy(row.app)
        credentials = self._safe.open_credentials(row)
        context = credentials.context(policy, self._safe.open_fields(row), row.id)
        return await self._calls.test(row.app, policy, context, secrets=credentials.all_secrets)

    async def _row(self, connection_id: str) -> ConnectionRow:
        row = await self._store.connections.get(connection_id)
        if row is None or row.status is Status.DISCONNECTED:
            raise ClientError(_not_found(connection_id))
        return row

    async def _row_of(self, app: str, connection_id: str) -> ConnectionRow:
        row = await self._row(connection_id)
        if row.app != app:
            raise ClientError(_not_found(connection_id))
        return row

    def _policy(self, app: str) -> Policy:
        policy = self._policies.get(app)
        if policy is None:
            detail = f"There is no app {app}."
            raise ClientError(
                Refusal(code="not_found", detail=detail, hint=f"Its policy would be policies/{app}.toml.")
            )
        return policy

    async def _compile(self, row: ConnectionRow) -> Live:
        """Compile with the policy of now, even if it changes while a script runs in its thread."""
        while True:
            policy = self._policies.get(row.app)
            live = await compile_live(row, policy, safe=self._safe, sources=self._sources, public_url=self._public_url)
            if self._policies.get(row.app) is policy:
                if (row.id, row.token_version) in self._held:  # loaded anew while its token is being replaced
                    live.expires_at = self._clock()
                return live

    async def _finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Do a piece of work to its end, even if the caller goes away."""
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return await asyncio.shield(task)

    def _revocation(self, row: ConnectionRow, actor: str) -> RevocationRow | None:
        """Return what the end of a connection leaves to be revoked."""
        policy = self._policies.get(row.app)
        if policy is None:
            return None
        try:
            credentials, fields = self._safe.open_credentials(row), self._safe.open_fields(row)
        except KeyringError as error:  # nobody can revoke with what nobody can read; it is ended all the same
            _log.warning("token.not_revoked", connection=row.id, app=row.app, reason=str(error))
            return None
        return self._partings.plan(row, policy, credentials, fields, actor=actor)

    async def _orphaned(self, row: ConnectionRow, policy: Policy, credentials: Credentials) -> None:
        """Revoke tokens that came for a connection which was ended meanwhile."""

        async def work() -> None:
            revocation = self._partings.plan(row, policy, credentials, self._safe.open_fields(row), actor="gateway")
            if revocation is not None:
                await self._store.revocations.add(revocation)
                self._partings.begin(revocation)

        await sealed_anew(work)


def _raise_if_paused(live: Live, now: float) -> None:
    refusal = paused(live.connection_id, live.reason, live.retry_at, now)
    if refusal is not None:
        raise AuthorizationServerError(refusal)


def _not_found(connection_id: str) -> Refusal:
    return Refusal(code="not_found", detail=f"There is no connection {connection_id}.")
