"""What the web listener stands on, as the composition root hands it over."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from gateway.metrics import Metrics
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.access import Access
    from gateway.audit import Audit
    from gateway.catalog import Catalog
    from gateway.egress import Egress
    from gateway.keyring import Keyring
    from gateway.store import Store
    from gateway.vault import Vault


class Authority(Protocol):
    """Who signs what is shown inside tunnels."""

    @property
    def certificate_pem(self) -> bytes:
        """The certificate that callers are to trust."""


class Services(Protocol):
    """The parts of a running gateway. `clock` gives seconds since the epoch."""

    @property
    def settings(self) -> Settings:
        """The configuration."""

    @property
    def store(self) -> "Store":
        """The database."""

    @property
    def keyring(self) -> "Keyring":
        """What seals and opens."""

    @property
    def vault(self) -> "Vault":
        """The life of connections and their tokens."""

    @property
    def access(self) -> "Access":
        """The clients and what they may use."""

    @property
    def audit(self) -> "Audit":
        """The audit trail's writer."""

    @property
    def catalog(self) -> "Catalog":
        """The policies."""

    @property
    def egress(self) -> "Egress":
        """The one way out."""

    @property
    def metrics(self) -> Metrics:
        """The counts."""

    @property
    def clock(self) -> Callable[[], float]:
        """The time."""

    async def authority(self) -> Authority:
        """Return the certificate authority."""
