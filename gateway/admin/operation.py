"""One operation of the API as a value, what its handler is given, and what it returns."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from gateway.admin.models import AppId, ClientName, ConnectionId, Query, Sent
from gateway.admin.services import Services
from gateway.errors import ClientError, Refusal

PARAMETERS: Mapping[str, Any] = MappingProxyType({"app": AppId, "id": ConnectionId, "name": ClientName})
"""The parameters that paths may have, and their types. What doesn't fit can't exist: 404."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, read and validated. `actor` goes into the audit trail; `origin` is the web listener's own URL."""

    services: Services
    parameters: Mapping[str, str]
    body: Any
    query: Any
    actor: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is sent back: 204 has no body."""

    body: BaseModel | None = None
    status: int = 200


Handler = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One line of the table of routes.

    `answers` gives the model of each good status; `refuses` the statuses that this operation refuses with besides those
    that every operation of its kind has. `takes_policy` lets the body also be the TOML text itself.
    """

    method: str
    path: str
    handler: Handler
    tag: str
    summary: str
    answers: Mapping[int, type[BaseModel] | None]
    body: type[Sent] | None = None
    query: type[Query] | None = None
    refuses: tuple[int, ...] = field(default=())
    takes_policy: bool = False


def missing(what: str) -> ClientError:
    """Return the error that says `what` isn't there."""
    return ClientError(Refusal(code="not_found", detail=f"There is no {what}."))
