"""The HTTP clients that people use, unmodified: each is told of the gateway by its environment alone, or by a base URL.

`send` is all there is: it hands every piece of the answer's body to `on_data` as it comes.
"""

import asyncio
import contextlib
import io
import json
import os
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import httpx
import pytest
import requests

from tests.e2e.harness.running import Answer

NODE_SCRIPT = Path(__file__).with_name("client.mjs")
CLIENT_TIMEOUT = 40.0
PIECE = 1 << 18

Fields = Sequence[tuple[str, str]]
OnData = Callable[[bytes], None]


@dataclass(frozen=True, kw_only=True)
class Route:
    """A way to the upstream: `entrance` is absolute, connect or path; `direct` goes the same way without a gateway.

    `base` stands before every path, `proxy` is the URL for the environment's proxy variables, `fields` are sent along.
    """

    entrance: str
    base: str
    ca: Path
    direct: bool = False
    proxy: str | None = None
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that tell a client of the proxy and of whom to trust."""
        names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
        found = dict.fromkeys(names, str(self.ca))
        if self.proxy:
            found |= dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), self.proxy)
        return found

    def whole_environment(self) -> dict[str, str]:
        return {k: v for k, v in os.environ.items() if "proxy" not in k.lower()} | self.environment

    @contextlib.contextmanager
    def in_environment(self) -> Iterator[None]:
        """Set the variables for a client in this process."""
        before = dict(os.environ)
        os.environ.clear()
        os.environ.update({k: v for k, v in before.items() if "proxy" not in k.lower()} | self.environment)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


class Collected:
    """Gathers an answer's body and passes it on to whoever watches."""

    def __init__(self, on_data: OnData | None) -> None:
        self.body = bytearray()
        self.take: OnData = on_data or self.body.extend


class HTTPClient(ABC):
    """One HTTP client."""

    name: str

    @abstractmethod
    def send(
        self,
        route: Route,
        method: str,
        path: str,
        *,
        fields: Fields = (),
        body: bytes | None = None,
        on_data: OnData | None = None,
    ) -> Answer:
        """Send one request by a route and return the answer."""


class Curl(HTTPClient):
    name = "curl"

    def send(self, route, method, path, *, fields=(), body=None, on_data=None):
        command = ["curl", "--silent", "--show-error", "--no-buffer", "--http1.1", "--globoff", "--path-as-is"]
        command += ["--max-time", str(CLIENT_TIMEOUT)]
        command += ["--write-out", "%{stderr}%{http_code} %{header_json}"]
        command += ["--head"] if method == "HEAD" else ["--request", method]
        for name, value in (*route.fields, *fields):
            command += ["--header", f"{name}: {value}"]
        if body is not None:
            command += ["--data-binary", "@-"]
        return run_to_end([*command, route.base + path], route, body, on_data, read_curl)


def read_curl(report: bytes) -> tuple[int, dict[str, str]]:
    """Read `200 {"name": ["value"]}`."""
    status, _, headers = report.partition(b" ")
    return int(status), {name: values[-1] for name, values in json.loads(headers).items()}


class Node(HTTPClient):
    name = "node"

    def send(self, route, method, path, *, fields=(), body=None, on_data=None):
        node = shutil.which("node")
        if node is None:
            pytest.skip("Node is not installed")
        wish = {
            "entrance": route.entrance,
            "proxy": route.proxy,
            "method": method,
            "url": route.base + path,
            "headers": [*route.fields, *fields],
            "hasBody": body is not None,
        }
        return run_to_end([node, str(NODE_SCRIPT), json.dumps(wish)], route, body, on_data, read_node)


def read_node(report: bytes) -> tuple[int, dict[str, str]]:
    """Read what the script says of the answer's head."""
    head = json.loads(report)
    return head["status"], head["headers"]


def run_to_end(command, route, body, on_data, read) -> Answer:
    """Run a program that writes the answer's body to standard output and tells of its head on standard error."""
    collected = Collected(on_data)
    with subprocess.Popen(
        command, env=route.whole_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            with contextlib.suppress(BrokenPipeError), process.stdin as given:
                given.write(body or b"")
            while data := process.stdout.read1(PIECE):
                collected.take(data)
            report = process.stderr.read()
            code = process.wait(CLIENT_TIMEOUT)
        except BaseException:
            process.kill()  # else the end of the block would wait for a program that waits for an answer
            raise
    assert code == 0, report.decode()
    status, headers = read(report)
    return Answer(status=status, headers=headers, body=bytes(collected.body))


class Urllib(HTTPClient):
    name = "urllib"

    def send(self, route, method, path, *, fields=(), body=None, on_data=None):
        collected = Collected(on_data)
        request = urllib.request.Request(route.base + path, body, dict((*route.fields, *fields)), method=method)
        with route.in_environment():
            opener = urllib.request.build_opener()
            try:
                answer = opener.open(request, timeout=CLIENT_TIMEOUT)
            except urllib.error.HTTPError as error:
                answer = error
        with answer:
            while data := answer.read1(PIECE):
                collected.take(data)
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(status=answer.status, headers=headers, body=bytes(collected.body))


class Requests(HTTPClient):
    name = "requests"

    def send(self, route, method, path, *, fields=(), body=None, on_data=None):
        collected = Collected(on_data)
        with route.in_environment(), requests.Session() as session:
            headers = dict((*route.fields, *fields))
            answer = session.request(
                method,
                route.base + path,
                headers=headers,
                data=body,
                stream=True,
                timeout=CLIENT_TIMEOUT,
                allow_redirects=False,
            )
            with answer:
                # A stream of unknown length is given out a piece at a time only when pieces are small.
                for data in answer.iter_content(PIECE if "content-length" in answer.headers else 1):
                    collected.take(data)
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return Answer(status=answer.status_code, headers=headers, body=bytes(collected.body))


class Httpx(HTTPClient):
    name = "httpx"

    def send(self, route, method, path, *, fields=(), body=None, on_data=None):
        collected = Collected(on_data)
        with route.in_environment(), httpx.Client(timeout=CLIENT_TIMEOUT) as client:
            headers = [*route.fields, *fields]
            with client.stream(method, route.base + path, headers=headers, content=body) as answer:
                for data in answer.iter_raw():
                    collected.take(data)
                return Answer(status=answer.status_code, headers=dict(answer.headers), body=bytes(collected.body))


class Aiohttp(HTTPClient):
    name = "aiohttp"

    def send(self, route, method, path, *, fields=(), body=None, on_data=None):
        with route.in_environment():
            return asyncio.run(self._send(route, method, path, [*route.fields, *fields], body, on_data))

    async def _send(self, route, method, path, headers, body, on_data):  # noqa: PLR0917 - one call, just above
        collected = Collected(on_data)
        # aiohttp makes its TLS context when it is imported; here the environment changes after that.
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context())
        timeout = aiohttp.ClientTimeout(total=CLIENT_TIMEOUT)
        url = route.base + path
        data = None if body is None else io.BytesIO(body)  # long bytes as such earn a warning
        async with (
            aiohttp.ClientSession(trust_env=True, connector=connector, timeout=timeout) as session,
            session.request(method, url, headers=headers, data=data, allow_redirects=False) as answer,
        ):
            async for piece in answer.content.iter_any():
                collected.take(piece)
            received = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(status=answer.status, headers=received, body=bytes(collected.body))


CLIENTS: tuple[HTTPClient, ...] = (Curl(), Urllib(), Requests(), Httpx(), Aiohttp(), Node())
