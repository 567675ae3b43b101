"""A gateway's parts, put together in the order in which they need each other, and taken apart in the reverse one."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.access import Access
from gateway.app.master import create_master_file, read_master_key
from gateway.app.schema import missing_file
from gateway.audit import Audit
from gateway.catalog import Catalog
from gateway.egress import Egress
from gateway.errors import Refusal, StartError
from gateway.keyring import Keyring
from gateway.metrics import Metrics
from gateway.proxy.ledger import StoreLedger
from gateway.proxy.limiter import Limiter
from gateway.proxy.tally import Tally
from gateway.settings import Settings
from gateway.store.clock import clock_of
from gateway.store.meta import GATEWAY_ID
from gateway.store.store import Store
from gateway.store.unlock import keyring_from_store
from gateway.vault import Vault

if TYPE_CHECKING:
    from gateway.proxy.certs import Authority


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """The parts. `clock` gives seconds since the epoch; `own_listeners` is filled in by whoever listens.

    `master` is the master key: workers are handed it, and rotation wraps with it.
    """

    settings: Settings
    store: Store
    keyring: Keyring
    master: bytes = field(repr=False)
    vault: Vault
    access: Access
    audit: Audit
    catalog: Catalog
    egress: Egress
    metrics: Metrics
    tally: Tally
    limiter: Limiter
    clock: Callable[[], float]
    gateway_id: str
    own_listeners: set[tuple[str, int]] = field(default_factory=set)

    async def authority(self) -> "Authority":
        """Return the certificate authority, made once for each store."""
        from gateway.proxy.certs import Authority  # noqa: PLC0415 - most commands sign nothing

        return await Authority.load(self.store, self.keyring, self.clock)


@asynccontextmanager
async def open_gateway(
    settings: Settings, *, create: bool = True, clock: Callable[[], float] | None = None, master: bytes | None = None
) -> AsyncIterator[Gateway]:
    """Open the store and all that stands on it. `create`: make what is missing, as on a first start.

    The master key is read from its source, once, unless `master` is it. The clock is the store's, unless `clock` is it.

    Raises `StartError`, one line and what to do next; nothing was changed then.
    """
    if not create and (file := missing_file(settings)):
        hint = "Make one with: gateway serve, or gateway connect APP"
        raise StartError(Refusal(code="not_found", detail=f"There is no gateway here yet: no {file}.", hint=hint))
    if master is None:
        master = read_master_key(settings.keys.source)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(await Store.open(settings.store.url, migrate=create))
        if master is None:
            master = await _make_master(store, settings, create=create)
        if clock is None:
            clock = await clock_of(store.database)
        keyring = await keyring_from_store(store, master, clock())
        catalog = _catalog_of(settings.policies_dir)
        own: set[tuple[str, int]] = set()
        egress = Egress(
            allow_networks=[str(network) for network in settings.egress.allow_networks],
            own_listeners=lambda: own,
            connect_timeout=settings.timeouts.connect,
        )
        stack.push_async_callback(egress.close)
        access, audit = Access(store, clock), Audit(store, clock)
        metrics, tally = Metrics(), Tally()
        store.database.watched = metrics.store

        def on_refresh(app: str, connection: str, *, renewed: bool) -> None:
            tally.renewal(clock(), app, connection, renewed=renewed)

        vault = Vault(
            store=store,
            keyring=keyring,
            catalog=catalog,
            egress=egress,
            audit=audit,
            clock=clock,
            public_url=settings.web.public_url,
            metrics=metrics,
            on_refresh=on_refresh,
            announces=bool(settings.webhook.url),
        )
        stack.push_async_callback(vault.close)
        yield Gateway(
            settings=settings,
            store=store,
            keyring=keyring,
            master=master,
            vault=vault,
            access=access,
            audit=audit,
            catalog=catalog,
            egress=egress,
            metrics=metrics,
            tally=tally,
            limiter=_limiter(store, settings, clock, metrics),
            clock=clock,
            gateway_id=await _gateway_id(store),
            own_listeners=own,
        )


def _catalog_of(directory: Path) -> Catalog:
    catalog = Catalog(directory)
    try:
        catalog.load()
    except OSError as error:
        detail = f"policies_dir: {directory} can't be looked into: {error.strerror}."
        hint = "Let the user the gateway runs as read it, or name another directory."
        raise StartError(Refusal(code="internal", detail=detail, hint=hint)) from None
    return catalog


def _limiter(store: Store, settings: Settings, clock: Callable[[], float], metrics: Metrics) -> Limiter:
    """Return what holds policies' limits: where SQLite has one process that serves, it needn't ask anybody."""
    alone = store.database.is_sqlite and settings.workers == 1
    ledger = None if alone else StoreLedger(store.limits, owner=secrets.token_hex(8), clock=clock)
    return Limiter(ledger, asyncio.get_running_loop(), metrics)


async def _make_master(store: Store, settings: Settings, *, create: bool) -> bytes:
    """Return a new master key for a new store; on an old one it must have been there."""
    source = settings.keys.source.removeprefix("file:")
    if not create or await store.keys.all():
        detail, hint = f"{source}: the master key of this store is missing.", "Put it back from its backup."
        raise StartError(Refusal(code="internal", detail=detail, hint=hint))
    return create_master_file(settings.keys.source)


async def _gateway_id(store: Store) -> str:
    """Return what this gateway is called in `Via`, the same for all of its processes and starts."""
    known = await store.meta.get(GATEWAY_ID)
    if known is None:
        known = (await store.meta.establish({GATEWAY_ID: secrets.token_hex(8).encode()}))[GATEWAY_ID]
    return known.decode()
