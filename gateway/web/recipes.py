"""What to paste where, so that a program's calls go through the gateway: recipes, each for one kind of runner.

The texts stand in templates/recipes, named by what each would be saved as. They are programs and not pages: every value
is quoted for the language that it stands in, and the page that shows one escapes it like anything else. A token stands
in one block of a recipe, never in a program's arguments and never in a file that is checked in.
"""

import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gateway.access import proxy_url
from gateway.http.target import parse_target
from gateway.secret import Secret
from gateway.settings import Listen

PLACEHOLDER = Secret("CLIENT_TOKEN")
"""What stands for a token that can't be shown any more."""

_TEXTS = Path(__file__).parent / "templates" / "recipes"
_CONNECTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_TOKEN = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_HOST_OF_DOCKER = "host.docker.internal"
_IN_POD = Listen("127.0.0.1", 8080)
"""Containers of a pod share its loopback, and nobody else has it."""
# As in the Dockerfile, and for its reason: kubelet itself can't reach the pod's loopback.
_PROBE = (
    "import http.client; c = http.client.HTTPConnection('127.0.0.1', 8081, timeout=2); c.request('GET', '/healthz'); "
    "raise SystemExit(c.getresponse().status != 200)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What recipes depend on. `target` is a URL that the connection allows; https means that the CA must be trusted.

    `proxy` is where a runner reaches the proxy, `certificate_url` where it gets the CA's certificate, `no_proxy` what
    it is to reach without the gateway. Raises `ValueError` for what can't be any of these.
    """

    proxy: Listen
    certificate_url: str
    connection: str
    token: Secret
    target: str
    no_proxy: str

    def __post_init__(self) -> None:
        # Quoting is each template's affair; this is what no template has to think of.
        if not _CONNECTION.fullmatch(self.connection):
            raise ValueError(f"{self.connection!r} is no connection id")
        if not _TOKEN.fullmatch(self.token.reveal()):
            raise ValueError("this is no client token")
        for url in (f"http://{self.proxy}/", self.certificate_url, self.target):
            parse_target(url)

    @property
    def trust(self) -> bool:
        """Whether the runner must trust the gateway's CA: it sees a certificate of ours in every tunnel."""
        return self.target.startswith("https://")

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine reaches the proxy."""
        try:
            return ip_address(self.proxy.host).is_loopback
        except ValueError:
            return self.proxy.host == "localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One text to copy. `id` names it, `file` is what to save it as; empty: it is typed into a shell or a form."""

    id: str
    file: str
    language: str
    text: str = field(repr=False)
    holds_token: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What to do for one kind of runner, in order. `notes` name what is to be said below it."""

    id: str
    blocks: tuple[Block, ...]
    notes: tuple[str, ...]


# The template of each block, its language, and the file to save it as.
_RECIPES: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    ("shell", (("shell.sh", "sh", ""),)),
    ("curl", (("curl.sh", "sh", ""),)),
    (
        "python",
        (
            ("token.sh", "sh", ""),
            ("call_requests.py", "python", "call_requests.py"),
            ("call_httpx.py", "python", "call_httpx.py"),
        ),
    ),
    (
        "node",
        (
            ("token.sh", "sh", ""),
            ("call.mjs", "javascript", "call.mjs"),
            ("unchanged.mjs", "javascript", "unchanged.mjs"),
            ("node.sh", "sh", ""),
        ),
    ),
    ("docker", (("docker.sh", "sh", ""),)),
    ("kubernetes", (("kubernetes.yaml", "yaml", "job.yaml"),)),
    ("n8n", (("n8n_node", "text", ""), ("n8n.sh", "sh", ""))),
    (
        "github",
        (
            ("github_secret.sh", "sh", ""),
            ("github_workflow.yml", "yaml", ".github/workflows/call-through-the-gateway.yml"),
        ),
    ),
)


def recipes(place: Place) -> tuple[Recipe, ...]:
    """Return every recipe, filled in."""
    values = _values(place)
    return tuple(
        Recipe(
            id=name, blocks=tuple(_block(*block, place, values) for block in blocks), notes=tuple(_notes(name, place))
        )
        for name, blocks in _RECIPES
    )


def _notes(recipe: str, place: Place) -> list[str]:
    match recipe:
        case "docker":
            return ["docker_linux"] if place.on_loopback else []
        case "kubernetes":
            return ["kubernetes_image", "kubernetes_store", "kubernetes_service"]
        case "github":
            return ["github_reach", "github_case"] if place.on_loopback else ["github_case"]
        case "shell" | "n8n":
            return [recipe]
        case _:
            return []


def _block(template: str, language: str, file: str, place: Place, values: Mapping[str, Any]) -> Block:
    text = _environment().get_template(f"{template}.txt").render(values).strip("\n") + "\n"
    return Block(
        id=template.replace(".", "_"),
        file=file,
        language=language,
        text=text,
        holds_token=place.token.reveal() in text,
    )


def _values(place: Place) -> dict[str, Any]:
    token, authority = place.token.reveal(), place.proxy.authority

    def proxy_at(authority: str) -> str:
        return proxy_url(authority, place.connection, token)

    # Inside a container loopback is the container's own.
    outside = f"{_HOST_OF_DOCKER}:{place.proxy.port}" if place.on_loopback else authority
    return {
        "authority": authority,
        "certificate_url": place.certificate_url,
        "connection": place.connection,
        "no_proxy": place.no_proxy,
        # n8n asks its own services for licences and templates, which no connection allows.
        "no_proxy_of_n8n": ",".join(filter(None, (place.no_proxy, "*.n8n.io"))),
        "on_loopback": place.on_loopback,
        "path_style": f"http://{authority}/c/{place.connection}/{place.target}",
        "probe": _PROBE,
        "proxy_url": proxy_at(authority),
        "proxy_url_in_container": proxy_at(outside),
        "proxy_url_in_pod": proxy_at(_IN_POD.authority),
        "scheme": "https" if place.trust else "http",
        # What GitHub's runner fills in. It takes names for the same whatever their case, so there is one of each.
        "secret": "${{ secrets.GATEWAY_CLIENT_TOKEN }}",
        "target": place.target,
        "temp": "${{ runner.temp }}",
        "token": token,
        "trust": place.trust,
    }


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEXTS),
        autoescape=False,  # noqa: S701 - programs, not HTML: the page that shows them escapes them
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(_FILTERS)
    return environment


# JSON's strings are literals of Python, JavaScript and YAML, as long as they are ASCII.
_FILTERS: dict[str, Callable[[str], str]] = {
    "sh": shlex.quote,
    "literal": json.dumps,
    "kube": lambda text: text.replace("$", "$$"),  # Kubernetes puts a variable's value in place of $(NAME)
    "actions": lambda text: text.replace("${{", "${{ '${{' }}"),  # GitHub's runner would evaluate it
}
