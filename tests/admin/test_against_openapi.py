"""The OpenAPI document is the API: what it allows is taken, what it doesn't is refused, and every answer stands in it.

schemathesis makes the requests from the document, the same ones in every run. SCHEMATHESIS_CASES asks for more of them
than `make test` has time for.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from gateway.admin.openapi import document
from gateway.admin.routes import OPERATIONS
from gateway.errors import Refusal, UpstreamError
from tests.web.harness import ADMIN, running

CASES = int(os.environ.get("SCHEMATHESIS_CASES", "6"))
"""For each operation, each kind of input, and each of what is there and what isn't."""
KNOWN = {"app": "crm", "id": "crm-ann", "name": "runner"}
TOKEN = {"Authorization": f"Bearer {ADMIN}"}
load_all_checks()
CHECKED = CHECKS.get_by_names(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    ]
)
REFUSED = CHECKS.get_by_names(["negative_data_rejection"])


class Unreachable:
    """A way out at whose end nobody is."""

    async def send(self, *_given: Any, **_how: Any) -> Any:
        raise UpstreamError(Refusal(code="upstream_connect", detail="Nobody is there."))


@contextmanager
def served(directory: Path) -> Iterator[str]:
    """Run a listener over a real store and vault in a thread of its own; give its URL."""
    ready, end = threading.Event(), asyncio.Event()
    found: dict[str, Any] = {}

    async def serve() -> None:
        async with running(directory, real_vault=True, egress=Unreachable()) as web:
            found.update(url=web.server.url, loop=asyncio.get_running_loop())
            ready.set()
            await end.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(30.0)
        yield found["url"]
    finally:
        found["loop"].call_soon_threadsafe(end.set)
        thread.join()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("api")) as one:
        yield one


def prepare(url: str) -> None:
    """See to it that what `KNOWN` names is there, whatever was deleted before."""
    api = f"{url}/api/v1"
    with requests.Session() as session:
        session.headers.update(TOKEN)
        session.post(f"{api}/clients", json={"name": "runner", "connections": ["crm-*"]})
        made = {"app": "crm", "id": "crm-ann", "fields": {"account": "ann"}, "secrets": {"api_key": "sk"}}
        session.post(f"{api}/connections", json=made)


def strict_document() -> dict[str, Any]:
    """Return the document without `default`: an answer that isn't named must not pass as any other.

    Nor does it speak of tokens: ten wrong ones are as many as an address may try.
    """
    made = document(OPERATIONS)
    del made["security"], made["components"]["securitySchemes"]
    for path in made["paths"].values():
        for operation in path.values():
            del operation["responses"]["default"]
    return made


SCHEMA = schemathesis.openapi.from_dict(strict_document())
FOUND = {one.ok().label: one.ok() for one in SCHEMA.get_all_operations()}


def test_every_operation_is_tried():
    assert len(FOUND) == len(OPERATIONS)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
@pytest.mark.parametrize("label", FOUND)
def test_every_answer_is_as_documented(url, label, mode):
    operation = FOUND[label]
    known = {name: value for name, value in KNOWN.items() if f"{{{name}}}" in operation.path}
    prepare(url)
    with requests.Session() as session:
        for there in ({}, known) if known and mode is GenerationMode.POSITIVE else ({},):
            try_out(operation, mode, lambda case, there=there: check(case, url, session, mode, there))


def try_out(operation: Any, mode: GenerationMode, judge: Callable[[Case], None]) -> None:
    """Let `judge` see as many cases as there is time for, the same ones in every run."""

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=CASES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def judged(case: Case) -> None:
        judge(case)

    judged()


def check(case: Case, url: str, session: requests.Session, mode: GenerationMode, there: Mapping[str, str]) -> None:
    """Send one request with the token and without; compare the answers with the document."""
    case.path_parameters.update(there)
    if mode is GenerationMode.POSITIVE and isinstance(case.body, dict):
        named = {"app": "crm", "connection": "crm-ann"}
        case.body.update({name: value for name, value in named.items() if name in case.body})
    response = case.call(base_url=url, headers=TOKEN, session=session)
    too_large = response.status_code == 413  # which it doesn't take for a refusal
    case.validate_response(response, checks=CHECKED if too_large else CHECKED + REFUSED)
    if response.status_code >= 400:
        assert response.headers["content-type"] == ["application/problem+json"]
        assert response.json()["status"] == response.status_code
    without = case.call(base_url=url, session=session)
    assert without.status_code == 401
