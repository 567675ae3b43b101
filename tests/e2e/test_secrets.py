"""Every secret of a run is searched for in whatever the run left behind or gave out, and is found nowhere."""

import json
from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.e2e.harness import policies
from tests.e2e.harness.clients import CLIENTS, Route
from tests.e2e.harness.running import RunningGateway

CURL = CLIENTS[0]
API_KEY = "sk+live/0123456789&abcdef"
READS = [
    "/apps",
    "/apps/orders",
    "/connections",
    "/connections/orders-1",
    "/connections/keyed-1",
    "/clients",
    "/events",
]


def forms(secret: str) -> set[bytes]:
    """Return the secret as it may be written: plain, in a URL, in base64, in JSON."""
    plain = secret.encode()
    return {plain, quote(secret, safe="").encode(), b64encode(plain), json.dumps(secret)[1:-1].encode()}


def found(secrets: Iterable[str], text: bytes) -> list[str]:
    return [secret for secret in secrets if any(form in text for form in forms(secret))]


@pytest.fixture
def own_gateway(tmp_path, upstream_ca, provider, upstream):
    """A gateway of this test alone, so that all it wrote can be read."""
    apps = policies.all_of(provider, upstream)
    running = RunningGateway(tmp_path / "gateway", trust=upstream_ca[1], policies=apps, log_level="debug")
    running.start()
    yield running
    if running.process.poll() is None:
        running.stop()


@pytest.mark.timeout(90)
def test_no_secret_is_found_in_files_logs_or_answers(own_gateway, provider, upstream, upstream_ca):
    """A run with a refresh, a refused call, a failed refresh and a disconnect; then the search, after a clean end."""
    gateway = own_gateway
    application = provider.create_application("secrets")
    doomed = provider.create_application("doomed")
    gateway.connect(
        "orders", "orders-1", fields={"client_id": application.client_id}, client_secret=application.client_secret
    )
    gateway.connect("orders", "orders-2", fields={"client_id": doomed.client_id}, client_secret=doomed.client_secret)
    gateway.connect("keyed", "keyed-1", api_key=API_KEY)
    token = gateway.client("everything", "*")
    given_out = [answer.body for answer in (gateway.api("GET", path) for path in READS)]
    secrets = {application.client_secret, doomed.client_secret, API_KEY, token, gateway.admin_token}
    secrets |= set(provider.tokens(application)) | set(provider.tokens(doomed))

    def call(connection: str, path: str, tag: str = token) -> int:
        proxy = f"http://{connection}:{tag}@127.0.0.1:{gateway.port}"
        answer = CURL.send(Route(entrance="absolute", base=upstream.http, ca=upstream_ca[1], proxy=proxy), "GET", path)
        given_out.extend([answer.body, str(answer.headers).encode()])
        return answer.status

    assert call("orders-1", "/v1/leak") == 200
    assert call("keyed-1", "/open/json") == 200
    given_out.pop(-2)  # that service's own answer says what it was sent, and the policy leaves bodies alone
    provider.revoke(application)
    assert call("orders-1", "/v1/json") == 200
    secrets |= set(provider.tokens(application))
    provider.revoke(doomed)
    provider.ask("delete_application", client_id=doomed.client_id)
    assert call("orders-2", "/v1/json") == 502
    assert call("orders-1", "/v1/json", "gwc_" + "C" * 43) == 407
    given_out.append(gateway.api("POST", "/connections/orders-1/refresh").body)
    explain = {"connection": "orders-1", "method": "GET", "url": upstream.http + "/v1/json"}
    given_out.append(gateway.api("POST", "/explain", explain).body)
    secrets |= set(provider.tokens(application))
    given_out.append(gateway.api("DELETE", "/connections/orders-2").body)
    given_out.extend(answer.body for answer in (gateway.api("GET", path) for path in [*READS, "/requests"]))
    given_out.append(gateway.cli("connections", "show", "orders-1", "--json").stdout.encode())
    assert gateway.stop() == 0

    assert len(secrets) >= 8
    assert found(secrets, b"\n".join(given_out)) == []
    written = [path for path in gateway.directory.rglob("*") if path.is_file()]
    assert {"gateway.db", "gateway.log"} <= {path.name for path in written}
    for path in written:
        known = {gateway.admin_token} if path.name == "admin.token" else set()  # the one file that holds it, 0600
        assert found(secrets - known, path.read_bytes()) == [], path
    assert Path(gateway.data / "admin.token").stat().st_mode & 0o777 == 0o600
    assert Path(gateway.data / "master.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.timeout(90)
def test_a_second_start_finds_everything_as_it_was(own_gateway, provider, upstream, upstream_ca):
    """Connections, clients and tokens outlive the process: no token call is needed after a restart."""
    gateway = own_gateway
    application = provider.create_application("restart")
    gateway.connect(
        "orders", "orders-1", fields={"client_id": application.client_id}, client_secret=application.client_secret
    )
    token = gateway.client("restart", "orders-*")
    assert gateway.stop() == 0

    gateway.start()

    proxy = f"http://orders-1:{token}@127.0.0.1:{gateway.port}"
    way = Route(entrance="absolute", base=upstream.http, ca=upstream_ca[1], proxy=proxy)
    assert CURL.send(way, "GET", "/v1/json").status == 200
    assert provider.calls(application) == 1
