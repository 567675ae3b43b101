"""Who follows a request: nothing of the data plane knows more of OpenTelemetry than this (`app/telemetry` is it)."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from gateway.http.trace_context import TraceParent

Attributes = Mapping[str, str | int]
"""By the names of OpenTelemetry's semantic conventions, or `gateway.…` of our own."""


class Trace(Protocol):
    """One request's part of a trace."""

    @property
    def trace_id(self) -> str:
        """The trace's id: 32 lower-case hex digits."""

    def event(self, name: str, attributes: Attributes) -> None:
        """Note what has happened at this moment."""

    def step(self, name: str) -> AbstractContextManager[None]:
        """Follow something that the request waits for."""

    def sent(self, name: str, attributes: Attributes) -> bytes:
        """Follow the request on its way; return the `traceparent` under which the service is to go on."""

    def answered(self, status: int) -> None:
        """Note that the service has begun to answer."""

    def received(self, *, error: str) -> None:
        """Note that its answer is complete, or what went wrong with it."""

    def ended(self, attributes: Attributes, *, name: str, error: str) -> None:
        """Note that the request is answered; `error` is empty where nothing went wrong."""


class Tracer(Protocol):
    """Begins them."""

    def begin(
        self, parent: TraceParent | None, state: bytes, *, name: str, attributes: Attributes, age: float
    ) -> Trace:
        """Follow a request that came `age` seconds ago. `parent` and `state` are what its caller has said."""
