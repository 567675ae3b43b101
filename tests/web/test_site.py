"""The listener: health, metrics, the headers of every answer, starting and stopping."""

import asyncio
import re

import aiohttp
import pytest
from structlog.testing import capture_logs

from gateway.app.sockets import bound
from gateway.errors import Refusal, StartError, StoreError
from gateway.keyring import Keyring, create_data_key
from gateway.secret import Secret
from gateway.settings import Listen, Settings
from gateway.web.health import check_ready
from gateway.web.server import WebServer
from tests.web.harness import ADMIN


async def test_healthz_says_that_the_process_answers(web):
    answer = await web.get("/healthz")
    assert (answer.status, answer.json) == (200, {"status": "ok"})


async def test_readyz_says_that_the_store_is_there_and_its_keys_open(web):
    assert (await web.get("/readyz")).json == {"status": "ready"}


async def test_readyz_is_503_with_a_problem_where_the_store_is_gone(web):
    async def gone(_name):
        raise StoreError(Refusal(code="overloaded", detail="The store can't be reached."))

    web.gateway.store.meta.get = gone
    answer = await web.get("/readyz")
    assert (answer.status, answer.headers["Content-Type"]) == (503, "application/problem+json")
    assert answer.json["detail"] == "The store can't be reached."
    assert (await web.get("/healthz")).status == 200


async def test_readyz_is_503_where_the_keys_open_nothing(web):
    web.gateway.keyring = Keyring({1: create_data_key()})
    answer = await web.get("/readyz")
    assert (answer.status, answer.json["detail"]) == (503, "The keys don't open this store.")


async def test_readyz_does_not_wait_for_a_store_that_hangs(web):
    async def hangs(_name):
        await asyncio.Event().wait()

    web.gateway.store.meta.get = hangs
    with pytest.raises(StoreError, match="doesn't answer"):
        await check_ready(web.gateway, patience=0.01)


async def test_a_false_content_encoding_is_a_plain_refusal_and_no_traceback(web, caplog):
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    for authorization in (f"Bearer {ADMIN}", "Bearer wrong"):
        answer = await web.request(
            "POST", "/api/v1/clients", data=b"{}", headers={**headers, "Authorization": authorization}
        )
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert "Traceback" not in caplog.text


async def test_metrics_are_prometheus_text_without_a_name_of_anybody(web):
    web.gateway.metrics.request("ok", 200, 0.01, "absolute")
    await web.api("POST", "/connections", json={"app": "crm", "id": "crm-ann"})
    answer = await web.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'gateway_requests_total{code="ok",entrance="absolute",status_class="2xx"} 1.0' in answer.text
    assert "crm" not in answer.text


async def test_the_id_of_a_refusal_is_found_in_the_log_and_no_path_with_it(web):
    with capture_logs() as events:
        problem = await web.get("/api/v1/connections/one-time", headers={"Authorization": f"Bearer {ADMIN}"})
        page = await web.get("/nothing/one-time")
    told = [(one["request_id"], one["route"], one["status"]) for one in events if one["event"] == "web.refused"]
    assert told == [
        (problem.json["request_id"], "/api/v1/connections/{id}", 404),
        (page.headers["X-Request-Id"], "", 404),
    ]
    assert "one-time" not in str(events)


async def test_who_floods_us_with_what_is_refused_fills_no_log(web):
    with capture_logs() as events:
        for _ in range(30):
            await web.get("/nothing")
    assert len(events) == 10


@pytest.mark.parametrize(
    "path",
    ["/", "/sign-in", "/connect/nothing", "/healthz", "/api/v1/apps", "/nothing", "/static/style.css", "/static/x"],
)
async def test_every_answer_has_the_headers_that_keep_it_to_itself(web, path):
    answer = await web.get(path)
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == ("no-cache" if path == "/static/style.css" else "no-store")
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "aiohttp" not in answer.headers["Server"]


async def test_a_page_that_does_not_exist_is_a_page_and_repeats_nothing_of_the_address(web):
    answer = await web.get("/<script>my-one-time-token")
    assert (answer.status, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert "<h1>There is no such thing</h1>" in answer.text
    assert "one-time" not in answer.text
    assert answer.headers["X-Request-Id"] in answer.text


@pytest.mark.parametrize("path", ["/static/../server.py", "/static/%2e%2e/server.py", "/static/", "/static"])
async def test_nothing_but_the_static_files_is_served(web, path):
    host, port = web.server.addresses[0]
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.split(b" ")[1] in (b"403", b"404")
    assert b"WebServer" not in answer


async def test_no_page_loads_or_runs_anything_that_the_policy_would_stop(web):
    for path in ("/sign-in", await web.link(), "/connect/nothing"):
        text = (await web.get(path)).text
        assert "<script" not in text
        assert "style=" not in text
        assert not re.search(r"<[^>]*\son\w+=", text)
        assert "http://" not in text.replace("http://www.w3.org", "")


async def test_a_port_in_use_is_one_clear_line(web):
    with bound(Listen("127.0.0.1", 0))[0] as ours, bound(Listen(*ours.getsockname()))[0] as taken:
        taken.listen()
        port = ours.getsockname()[1]
        web.gateway.settings = Settings(web={"listen": f"127.0.0.1:{port}"})
        server = WebServer(web.gateway, token=Secret(ADMIN))
        with pytest.raises(StartError, match=f"can't have 127.0.0.1:{port}"):
            await server.start([ours])
    assert server.addresses == ()


async def test_stopping_lets_a_request_under_way_end_and_takes_no_new_one(web):
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_name):
        asked.set()
        await go_on.wait()
        return b""

    web.gateway.store.meta.get = slow
    running = asyncio.create_task(web.get("/readyz"))
    await asked.wait()
    stopping = asyncio.create_task(web.server.stop(5.0))
    await asyncio.sleep(0)  # one turn: the task has begun to stop
    assert web.server.addresses == ()
    go_on.set()
    answer = await running
    await stopping
    assert answer.status == 503
    with pytest.raises(aiohttp.ClientConnectionError):
        await web.get("/healthz")


async def test_draining_is_told_to_whoever_asks_and_every_answer_is_the_last_on_its_connection(web):
    assert (await web.get("/readyz")).headers.get("Connection") is None
    await web.server.drain(accepting=True)
    answer = await web.get("/readyz")
    assert (answer.status, answer.json["detail"]) == (503, "The gateway is stopping.")
    assert answer.headers["Connection"] == "close"
    assert (await web.get("/healthz")).status == 200
    assert (await web.get("/metrics")).status == 200


async def test_who_came_before_the_end_is_answered_and_who_comes_behind_it_is_not_taken(web):
    """Another process may have the socket by then, and takes them."""
    port = web.server.addresses[0][1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await web.get("/healthz")  # both have been accepted by now
    await web.server.drain(accepting=False)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    stopping = asyncio.create_task(web.server.stop(20.0))
    await asyncio.sleep(0)  # one turn: it has begun
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nConnection: close\r\n" in answer
    await stopping
    writer.close()


async def test_readyz_says_what_else_keeps_the_gateway_from_serving(web):
    web.server._readiness._why_not = lambda: "No worker serves the proxy's port."
    answer = await web.get("/readyz")
    assert (answer.status, answer.json["detail"]) == (503, "No worker serves the proxy's port.")


async def test_a_free_port_gives_links_that_lead_here(web):
    assert web.server.url == f"http://127.0.0.1:{web.server.addresses[0][1]}"
    assert (await web.get(await web.link())).status == 200


async def test_a_static_file_that_hasnt_changed_is_not_sent_again(web):
    for name, kind in (
        ("style.css", "text/css; charset=utf-8"),
        ("fragment.js", "text/javascript; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ):
        first = await web.get(f"/static/{name}")
        assert (first.status, first.headers["Content-Type"]) == (200, kind)
        again = await web.get(f"/static/{name}", headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status, again.text) == (304, "")
        assert (await web.get(f"/static/{name}", headers={"If-None-Match": '"another"'})).text == first.text


async def test_the_sheet_is_asked_for_once_by_an_address_that_names_its_content(web):
    (address,) = re.findall(r'<link rel="stylesheet" href="([^"]+)">', (await web.get("/sign-in")).text)
    sheet = await web.get(address)
    assert sheet.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert sheet.text == (await web.get("/static/style.css")).text
    for other in ("/static/style.css", "/static/style.css?v=", f"{address}0", address.replace("style.css", "icon.svg")):
        assert (await web.get(other)).headers["Cache-Control"] == "no-cache", "another content may stand here tomorrow"


async def test_a_name_longer_than_any_files_is_not_there_and_no_fault(web, capsys):
    assert (await web.get("/static/" + "a" * 5_000)).status == 404
    assert "web.fault" not in capsys.readouterr().out
