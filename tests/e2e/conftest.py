"""One provider, one upstream and one gateway for each test process; a test that changes a connection makes its own."""

import itertools
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.e2e.harness import policies
from tests.e2e.harness.clients import Route
from tests.e2e.harness.grants import House
from tests.e2e.harness.provider import Application, Provider
from tests.e2e.harness.running import RunningGateway
from tests.e2e.harness.upstream import Upstream

_numbers = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class Tagged:
    """A connection and a client that may use it: all that a caller needs."""

    connection: str
    token: str
    application: Application


@pytest.fixture(scope="session")
def upstream_ca(tmp_path_factory) -> tuple[trustme.CA, Path]:
    """The authority that signs the upstream's certificate, and the file that the gateway trusts."""
    ca = trustme.CA()
    file = tmp_path_factory.mktemp("ca") / "upstream-ca.pem"
    ca.cert_pem.write_to_path(file)
    return ca, file


@pytest.fixture(scope="session")
def provider(tmp_path_factory) -> Iterator[Provider]:
    running = Provider(tmp_path_factory.mktemp("provider"))
    yield running
    running.close()


@pytest.fixture(scope="session")
def upstream_service(upstream_ca, provider) -> Iterator[Upstream]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.set_alpn_protocols(["http/1.1"])
    upstream_ca[0].issue_cert("localhost", "127.0.0.1").configure_cert(tls)
    running = Upstream(tls, provider.in_force)
    yield running
    running.close()


@pytest.fixture
def upstream(upstream_service) -> Upstream:
    """The recording upstream, with nothing recorded yet."""
    upstream_service.clear()
    return upstream_service


@pytest.fixture(scope="session")
def gateway(tmp_path_factory, upstream_ca, provider, upstream_service) -> Iterator[RunningGateway]:
    """`gateway serve`, running."""
    apps = policies.all_of(provider, upstream_service)
    running = RunningGateway(tmp_path_factory.mktemp("gateway"), trust=upstream_ca[1], policies=apps)
    running.write_policy("loop", policies.loop(running.port, running.web_port))
    running.start()
    yield running
    assert running.stop() == 0, running.log()[-3000:]


@pytest.fixture(scope="session")
def gateway_ca(gateway) -> Path:
    """The certificate that `gateway ca export` writes."""
    file = gateway.directory / "gateway-ca.pem"
    gateway.cli("ca", "export", str(file))
    return file


@pytest.fixture(scope="session")
def make_tagged(gateway, provider):
    """Make a connection with an application of its own at the provider, and a client for it alone."""

    def make(app: str = "orders", *, lifetime: int | None = None) -> Tagged:
        number = next(_numbers)
        application = provider.create_application(f"{app} {number}", lifetime=lifetime)
        connection = f"{app}-{number}"
        fields = {"client_id": application.client_id}
        gateway.connect(app, connection, fields=fields, client_secret=application.client_secret)
        return Tagged(
            connection=connection, token=gateway.client(f"client-{number}", connection), application=application
        )

    return make


@pytest.fixture(scope="session")
def tagged(make_tagged) -> Tagged:
    """A connection that tests share; none of them changes it."""
    return make_tagged()


@pytest.fixture
def route(gateway, gateway_ca, upstream_ca, upstream_service):
    """Return the route of an entrance for a tagged caller, or the one beside it that goes to the upstream directly."""

    def find(entrance: str, tagged: Tagged, *, direct: bool = False) -> Route:
        base = upstream_service.https if entrance == "connect" else upstream_service.http
        if direct:
            return Route(entrance=entrance, base=base, ca=upstream_ca[1], direct=True)
        if entrance == "path":
            through = f"http://127.0.0.1:{gateway.port}/c/{tagged.connection}/{base}"
            fields = (("Authorization", f"Bearer {tagged.token}"),)
            return Route(entrance=entrance, base=through, ca=gateway_ca, fields=fields)
        proxy = f"http://{tagged.connection}:{tagged.token}@127.0.0.1:{gateway.port}"
        return Route(entrance=entrance, base=base, ca=gateway_ca, proxy=proxy)

    return find


@pytest.fixture(scope="session")
def client_of_all(gateway) -> str:
    """The token of a client that may use every connection."""
    return gateway.client("client-of-all", "*")


@pytest.fixture
def house(gateway, gateway_ca, provider, upstream, client_of_all) -> Iterator[House]:
    """The running gateway with its provider and its upstream, for people who connect."""
    made = House(gateway=gateway, provider=provider, upstream=upstream, ca=gateway_ca, client=client_of_all)
    yield made
    made.close()
