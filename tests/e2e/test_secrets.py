"""Every secret of a run is searched for in whatever the run left behind or gave out, and is found nowhere."""

import json
from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from tests.e2e.harness import policies
from tests.e2e.harness.clients import CLIENTS, Route
from tests.e2e.harness.grants import App, House, come_back, waiting_for_a_link
from tests.e2e.harness.provider import Person
from tests.e2e.harness.running import RunningGateway
from tests.e2e.harness.visitor import Page, Visitor, query_of

CURL = CLIENTS[0]
IN_A_QUERY = "what-a-caller-put-into-its-query"
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
GRANTS = ("authorization_code", "implicit", "password", "client_credentials", "device_code")


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


@pytest.fixture
def own_house(own_gateway, provider, upstream, upstream_ca):
    """The same with people who connect."""
    client = own_gateway.client("all", "*")
    made = House(gateway=own_gateway, provider=provider, upstream=upstream, ca=upstream_ca[1], client=client)
    yield made
    made.close()


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
    assert call("orders-1", f"/v1/json?pin={IN_A_QUERY}") == 200
    given_out.pop(-2)  # as above
    assert call("orders-1", f"/v1/admin/x?pin={IN_A_QUERY}") == 403
    secrets.add(IN_A_QUERY)
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
    given_out.append(urlopen(f"http://127.0.0.1:{gateway.web_port}/metrics", timeout=10).read())
    assert b"gateway_requests" in given_out[-1]
    assert found({"orders-1", "keyed-1", "everything"}, given_out[-1]) == [], "labels name no connection and no client"
    assert gateway.stop() == 0

    assert len(secrets) >= 9
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


def contents(gateway: RunningGateway) -> list[tuple[Path, bytes]]:
    """Return every file of a gateway's directory and what is in it."""
    return [(path, path.read_bytes()) for path in gateway.directory.rglob("*") if path.is_file()]


def pages_of(visitor: Visitor, gateway: RunningGateway) -> list[bytes]:
    """Return what the gateway answered to this browser, headers too."""
    origin = f"http://127.0.0.1:{gateway.web_port}/"
    return [page for url, page in zip(visitor.visited, visitor.pages, strict=True) if url.startswith(origin)]


def link_token(url: str) -> str | None:
    """Return the one-time token of a connect link."""
    _, found, token = url.partition("/connect/")
    return token if found else None


def command_lines(process: int) -> list[bytes]:
    """Return the command lines of a process and of all below it, as `ps` shows them to everybody."""
    children = [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return [Path(f"/proc/{process}/cmdline").read_bytes(), *(line for one in children for line in command_lines(one))]


def refused_try(house: House, visitor: Visitor, app: App, person: Person, wrong: str) -> Page:
    """Open a link of the app and come to nothing with it: the person says no, or has the wrong secret."""
    where = house.link(app)
    if app.by_login:
        return come_back(visitor, visitor.submit(visitor.sign_in(visitor.leave(where), person), follow=False))
    if app.grant == "device_code":
        return house.type_in(visitor, visitor.submit(visitor.get(where)), person, action="deny")
    filled_in = house.what_to_fill_in(app, person)
    wanted = dict.fromkeys(filled_in.keys() & {"password", "client_secret"}, wrong)
    return visitor.submit(visitor.get(where), **filled_in | wanted)


@pytest.mark.timeout(90)
def test_no_secret_of_any_grant_is_found_anywhere(own_house, provider):
    """Every grant by its pages, a refusal and a second try in each, a refresh, a disconnect, `gateway connect`.

    Searched for: client secrets, passwords, codes, device codes, verifiers, states, every kind of token. Searched in:
    the files while the gateway runs (the write-ahead log too) and after it, its log at its most talkative, API answers,
    pages and their headers, terminal output, process list. Pages alone may name a state, in the login URL that they
    lead to, and a link's own address.
    """
    house, gateway = own_house, own_house.gateway
    apps = [house.app(grant) for grant in GRANTS]
    person, wrong = house.person(), "wrong/password+of&this=run"
    lists: list[bytes] = []
    for app in apps:
        visitor = house.visitor()
        filled_in = house.what_to_fill_in(app, person)
        refused = refused_try(house, visitor, app, person, wrong)
        assert "was not connected" in refused.text
        page = visitor.submit(refused, **filled_in)
        if app.by_login:
            page = come_back(visitor, visitor.allow(visitor.get(page.links["continue"]), follow=False))
        elif app.grant == "device_code":
            page = house.type_in(visitor, page, person)
        assert page.heading.startswith("Connected as")
        lists += command_lines(gateway.process.pid)
    with waiting_for_a_link(gateway, apps[0]) as (waiting, link):
        lists += command_lines(waiting.pid)
        house.visitor().connect(link, person)
        said = "".join(waiting.communicate(timeout=20)).encode()

    given_out = [said]
    connections = [house.connection(app)["id"] for app in apps]
    for app, connection in zip(apps, connections, strict=True):
        assert house.call(connection).status == 200
        house.provider.revoke(app.application)
        house.call(connection)
        given_out += [gateway.api("POST", f"/connections/{connection}/{what}").body for what in ("test", "refresh")]
    reads = [f"/apps/{app.name}" for app in apps] + [f"/connections/{connection}" for connection in connections]
    given_out += [gateway.api("GET", path).body for path in (*reads, "/apps", "/connections", "/events", "/requests")]
    given_out += [gateway.cli("connections", "show", connections[0], "--json").stdout.encode()]
    secrets = provider.all_secrets() | gateway.secrets | {wrong, gateway.admin_token, house.client}
    visited = [url for visitor in house.visitors for url in visitor.visited]
    in_addresses = {value for url in visited for value in (query_of(url).get("state"), link_token(url)) if value}
    secrets |= {value for url in visited if (value := query_of(url).get("code"))} | in_addresses
    assert len(secrets) >= 30
    written = dict(contents(gateway))
    assert {"gateway.db", "gateway.db-wal", "gateway.log"} <= {path.name for path in written}
    assert gateway.api("DELETE", f"/connections/{connections[0]}").status == 204
    assert gateway.stop() == 0

    client_secrets = [app.application.client_secret for app in apps]
    assert found(client_secrets, "\n".join(visited).encode()) == []  # the provider's login URLs are among them
    pages = [page for visitor in house.visitors for page in pages_of(visitor, gateway)]
    assert found(secrets - in_addresses, b"\n".join(pages)) == []
    assert found(secrets, b"\n".join(given_out + lists)) == []
    for path, data in [*written.items(), *contents(gateway)]:
        known = {gateway.admin_token} if path.name == "admin.token" else set()
        assert found(secrets - known, data) == [], path
