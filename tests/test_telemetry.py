"""Traces of a whole server: each of its workers tells the collector, and what it has left when it is told to stop."""

import asyncio
from pathlib import Path

from tests.cli.programs import serving
from tests.proxy.collector import collecting

REQUESTS = 24
ASKED = b"GET http://ok.test/ HTTP/1.1\r\nHost: ok.test\r\nX-Connection-Id: none\r\nConnection: close\r\n\r\n"


async def test_every_worker_tells_the_collector_all_of_its_spans_before_it_ends(tmp_path: Path) -> None:
    async with collecting() as collector:
        environment = {
            "GATEWAY_WORKERS": "2",
            "GATEWAY_ACCESS__ANONYMOUS": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "60000",
        }
        with serving(tmp_path, environment) as server:
            for _ in range(REQUESTS):  # each on a connection of its own: the kernel shares them out
                reader, writer = await asyncio.open_connection("127.0.0.1", server.proxy)
                writer.write(ASKED)
                assert b" 403 " in await reader.readline()
                writer.close()
            assert collector.spans == []
            assert await asyncio.to_thread(server.stop) == 0
        spans = [span for span in collector.spans if span.kind == "server"]
    assert len(spans) == REQUESTS
    assert len({span.resource["process.pid"] for span in spans}) == 2
    assert {span.attributes["http.response.status_code"] for span in spans} == {403}
