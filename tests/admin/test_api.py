"""What every operation has in common: who may call, what is refused how, and that no refusal is a traceback."""

import asyncio
import gzip
import io
import json

import aiohttp
import pytest

from gateway.admin.routes import OPERATIONS
from gateway.errors import Refusal, StoreError
from tests.web.harness import ADMIN

ANY = [(one.method, one.path.replace("{app}", "crm").replace("{id}", "x").replace("{name}", "x")) for one in OPERATIONS]
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(("method", "path"), ANY)
async def test_every_operation_needs_the_admin_token(web, method, path):
    answer = await web.request(method, "/api/v1" + path)
    assert (answer.status, answer.json["code"]) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="gateway"'


@pytest.mark.parametrize(
    "given",
    ["", "Bearer", "Bearer ", f"Basic {ADMIN}", f"Bearer {ADMIN}x", f"Bearer {ADMIN[:-1]}", ADMIN, "Bearer \xff\xfe"],
)
async def test_anything_but_the_whole_token_is_refused(web, given):
    answer = await web.get("/api/v1/apps", headers={"Authorization": given})
    assert answer.status == 401


async def test_the_session_of_the_pages_opens_no_api(web):
    cookie = f"gateway={ADMIN}"
    assert (await web.get("/api/v1/apps", headers={"Cookie": cookie})).status == 401


async def test_an_address_that_does_not_exist_is_not_told_from_one_that_does_without_the_token(web):
    assert (await web.get("/api/v1/nothing")).status == 401
    assert (await web.api("GET", "/nothing")).status == 404


async def test_a_problem_has_the_members_of_rfc_9457_and_the_request_id_of_the_header(web):
    answer = await web.api("GET", "/apps/nothing")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json == {
        "type": "https://connection-gateway.dev/problems/not_found",
        "title": "There is no such thing",
        "status": 404,
        "detail": "There is no app 'nothing'.",
        "code": "not_found",
        "request_id": answer.headers["X-Request-Id"],
    }


async def test_another_method_is_405_with_the_ones_that_are_possible(web):
    answer = await web.api("PATCH", "/apps/crm")
    assert (answer.status, answer.headers["Allow"]) == (405, "DELETE,GET,PUT")
    assert answer.json["detail"] == "DELETE, GET, PUT is possible here, nothing else."


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"nope", b'{"name": "a"} x', b'{"name": \xff}', b"[" * 5000, b'{"a": NaN', b"\x00"]
)
async def test_what_is_not_json_is_400(web, raw):
    answer = await web.api("POST", "/clients", data=raw, headers=JSON)
    assert (answer.status, answer.json["code"]) == (400, "request_rejected")


@pytest.mark.parametrize("given", [[], "text", 5, None, True])
async def test_json_that_is_no_object_is_422(web, given):
    answer = await web.api("POST", "/clients", data=json.dumps(given), headers=JSON)
    assert (answer.status, answer.json["code"]) == (422, "invalid")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
async def test_another_content_type_is_415_so_that_no_page_of_another_site_can_send_it(web, kind):
    answer = await web.api(
        "POST", "/clients", data=b'{"name": "a", "connections": ["*"]}', headers={"Content-Type": kind}
    )
    assert answer.status == 415


async def test_a_body_over_the_limit_is_413(web):
    answer = await web.api("POST", "/clients", data=io.BytesIO(b'"' + b"a" * 1_048_576), headers=JSON)
    assert (answer.status, answer.json["code"]) == (413, "request_too_large")


async def test_a_body_that_grows_over_the_limit_when_unpacked_is_413(web):
    packed = gzip.compress(b'"' + b"a" * 50_000_000 + b'"')
    answer = await web.api("POST", "/clients", data=packed, headers=JSON | {"Content-Encoding": "gzip"})
    assert answer.status in (400, 413)


async def test_every_fault_is_listed_with_its_path(web):
    answer = await web.api(
        "POST", "/clients", json={"name": 5, "connections": ["ok-*", "not ok", 7], "expires_in": "soon", "more": 1}
    )
    assert answer.status == 422
    assert answer.paths == {"name", "connections[1]", "connections[2]", "expires_in", "more"}


async def test_a_value_that_was_sent_is_not_repeated_in_a_fault(web):
    answer = await web.api("POST", "/connections", json={"app": "crm", "secrets": {"api_key": ["hunter2-secret"]}})
    assert answer.paths == {"secrets.api_key"}
    assert "hunter2-secret" not in answer.text


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("status=broken", "status"),
        ("colour=red", "colour"),
        ("limit=1&limit=2", "limit"),
        ("app=NOT+AN+APP", "app"),
        ("cursor=%00", "cursor"),
    ],
)
async def test_a_query_that_is_not_right_is_422_with_its_parameter(web, query, path):
    answer = await web.api("GET", f"/connections?{query}")
    assert (answer.status, answer.paths) == (422, {path})


@pytest.mark.parametrize(
    "path", ["/connections/%00", "/connections/a%2fb", "/apps/..%2f..%2fetc", "/apps/UPPER", "/clients/%20"]
)
async def test_a_name_that_nothing_can_have_is_404(web, path):
    assert (await web.api("DELETE", path)).status == 404


async def test_a_fault_of_ours_is_one_sentence_with_a_request_id_and_no_traceback(web, monkeypatch, capsys):
    async def broken(*_given):
        raise RuntimeError("the secret is hunter2")

    monkeypatch.setattr(web.gateway.vault, "test", broken)
    await web.api("POST", "/connections", json={"app": "crm", "id": "crm-ann"})
    answer = await web.api("POST", "/connections/crm-ann/test")
    assert (answer.status, answer.json["code"]) == (500, "internal")
    assert "hunter2" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.json["request_id"] in capsys.readouterr().out


async def test_a_store_that_is_gone_is_503_with_retry_after(web):
    async def gone(*_given, **_more):
        raise StoreError(Refusal(code="overloaded", detail="The store can't be reached.", retry_after=1))

    web.gateway.store.connections.list = gone
    answer = await web.api("GET", "/connections")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")


async def test_no_answer_lets_another_origin_read_it(web):
    asked = {"Origin": "https://evil.test", "Access-Control-Request-Method": "POST"}
    for method in ("OPTIONS", "GET", "POST"):
        answer = await web.api(method, "/apps", headers=asked)
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


async def test_bytes_that_are_no_http_are_refused_without_a_traceback(web):
    host, port = web.server.addresses[0]
    for raw in (b"\x16\x03\x01\x00\x00", b"GET / HTTP/9.9\r\n\r\n", b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n"):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(raw + b"\r\n\r\n")
        answer = await reader.read(65536)
        writer.close()
        await writer.wait_closed()
        assert answer.split(b" ")[1] == b"400"
        assert b"Traceback" not in answer


async def test_the_document_is_public_and_says_so(web):
    async with aiohttp.ClientSession() as session, session.get(web.server.url + "/api/v1/openapi.json") as answer:
        assert answer.status == 200
        assert (await answer.json())["openapi"] == "3.1.0"
