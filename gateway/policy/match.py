"""Matching: may this connection's credentials go to this target? The answer is a value that says why.

What is compared is byte for byte what is sent. `deny` wins over `urls`, and reads a path as a forgiving server might,
so that no other spelling of a denied path slips through. Entries are looked up by host, then by walking up its
labels; what an origin comes to is remembered in a bounded dictionary, for this is asked at every request.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gateway.http.target import Origin, Target, origin_of, served_path
from gateway.policy.context import Context
from gateway.policy.entry import Entry, EntryTemplate
from gateway.policy.model import Allow

NEVER = frozenset({"TRACE", "CONNECT"})  # TRACE echoes what was injected; CONNECT is an entrance, no request of ours
DEFAULT_CONNECT_PORTS = frozenset({443, 80})
_MAX_ORIGINS = 1024  # remembered per matcher; a policy for *.example.com meets many hosts, an attacker makes up more
_SHOWN = 3  # entries in a hint
_MAX_COMPARED = 100  # entries that are compared for a hint
_COMPARED = 40  # characters of a host, from its end: a caller may ask as often as it likes


@dataclass(slots=True)  # not frozen, as `Target` is not
class Allowed:
    """Go ahead. `rule` is the entry as written, `target` what to send (http may have become https)."""

    rule: str
    target: Target


@dataclass(frozen=True, slots=True)
class Denied:
    """Don't. `reason` is one sentence, `hint` what would be allowed, `rule` the `deny` entry as written."""

    reason: str
    hint: str | None = None
    rule: str | None = None


Decision = Allowed | Denied


@dataclass(frozen=True, slots=True)
class _Rules:
    """What one origin comes to: (path, path + "/", entry as written) each; "" is every path. `secure` is its https."""

    allow: tuple[tuple[str, str, str], ...]
    deny: tuple[tuple[str, str, str], ...]
    secure: Origin | None


class Matcher:
    """The allowed URLs of one connection, compiled."""

    __slots__ = ("_connect_ports", "_deny", "_entries", "_methods", "_origins", "_urls")

    def __init__(
        self,
        urls: Iterable[Entry],
        deny: Iterable[Entry],
        methods: Iterable[str] | None,
        connect_ports: Iterable[int] | None,
    ) -> None:
        self._entries = tuple(urls)
        self._urls = _by_host(self._entries)
        self._deny = _by_host(deny)
        self._methods = None if methods is None else frozenset(methods) - NEVER
        written = {entry.port for entry in self._entries if entry.port_written and entry.port}
        self._connect_ports = DEFAULT_CONNECT_PORTS | written if connect_ports is None else frozenset(connect_ports)
        self._origins: dict[Origin, _Rules] = {}

    @classmethod
    def compile(cls, allow: Allow, fields: Mapping[str, str]) -> "Matcher":
        """Compile with a connection's values. Raises `MissingValue`, `UrlInvalid`, `EntryInvalid`, all `ValueError`."""
        context = Context(fields=fields)
        urls = [EntryTemplate.parse(text).render(context) for text in allow.urls]
        deny = [EntryTemplate.parse(text, deny=True).render(context) for text in allow.deny]
        return cls(urls, deny, allow.methods, allow.connect_ports)

    def decide(self, method: str, target: Target, *, upgrade: bool = True) -> Decision:
        """Decide on one request. With `upgrade`, an http target that no http entry allows is tried as https."""
        origin, path = target.origin, target.path
        rules = self._origins.get(origin) or self._resolve(origin)
        for exact, below, rule in rules.allow:
            if not exact or path == exact or path.startswith(below):
                if rules.deny and (denial := _denial(rules, target)):
                    return denial
                if method in NEVER if self._methods is None else method not in self._methods:
                    return self._method_denied(method)
                return Allowed(rule, target)
        return self._not_covered(method, target, rules, upgrade=upgrade)

    def decide_connect(self, host: str, port: int) -> Decision:
        """Decide on a tunnel to a host (canonical) and port; what is asked inside is decided anew."""
        target = Target(origin_of("https", host, port), "/")
        entry = next(_candidates(self._urls, host), None)
        if entry is None:
            return Denied(f"The host {host} is not in the allowed URLs.", self._closest(target))
        for denied in _candidates(self._deny, host):
            if not denied.path and denied.covers_origin("https", port) and denied.covers_origin("http", port):
                return Denied(f"The policy denies {denied.shown}.", None, denied.written)
        if port not in self._connect_ports:
            ports = ", ".join(map(str, sorted(self._connect_ports))) or "none"
            return Denied(f"CONNECT to port {port} is not allowed.", f"Allowed ports for CONNECT: {ports}.")
        return Allowed(entry.written, target)

    def covers_host(self, host: str) -> bool:
        """Whether any entry is on this host (canonical), whatever its port and path."""
        return next(_candidates(self._urls, host), None) is not None

    def _resolve(self, origin: Origin) -> _Rules:
        scheme, host, port = origin.scheme, origin.host, origin.port
        entries = tuple(_candidates(self._urls, host))
        rules = _Rules(
            allow=tuple(
                (entry.path, f"{entry.path}/", entry.written) for entry in entries if entry.covers_origin(scheme, port)
            ),
            deny=tuple(
                (path := served_path(entry.path).rstrip("/"), f"{path}/", entry.written)
                for entry in _candidates(self._deny, host)
                if entry.covers_origin(scheme, port)
            ),
            secure=origin_of("https", host, 443 if port == 80 else port)  # noqa: PLR2004  the schemes' default ports
            if scheme == "http"
            else None,
        )
        if entries:  # hosts that no entry is on are not worth remembering
            if len(self._origins) >= _MAX_ORIGINS:
                self._origins.pop(next(iter(self._origins)), None)
            self._origins[origin] = rules
        return rules

    def _not_covered(self, method: str, target: Target, rules: _Rules, *, upgrade: bool) -> Decision:
        if denial := _denial(rules, target):
            return denial
        if upgrade and rules.secure is not None:
            secure = Target(rules.secure, target.path, target.query)
            decision = self.decide(method, secure)
            if isinstance(decision, Allowed) or decision.rule or self._covers(secure):
                return decision
        return Denied(f"{target.origin}{target.path} is not in the allowed URLs.", self._closest(target))

    def _covers(self, target: Target) -> bool:
        rules = self._resolve(target.origin)
        return any(
            not exact or target.path == exact or target.path.startswith(below) for exact, below, _ in rules.allow
        )

    def _method_denied(self, method: str) -> Denied:
        allowed = (
            ", ".join(sorted(self._methods or ()))
            if self._methods is not None
            else "every method but TRACE and CONNECT"
        )
        return Denied(f"The method {method} is not allowed.", f"Allowed methods: {allowed}.")

    def _closest(self, target: Target) -> str | None:
        """Show the entries that came closest, so that a person or an agent can correct the call by itself."""
        same_host = [entry.shown for entry in _candidates(self._urls, target.host)]
        if same_host:
            return f"Allowed on this host: {_some(same_host)}."
        if not self._entries:
            return None
        ranked = sorted(self._entries[:_MAX_COMPARED], key=lambda entry: -_likeness(target.host, entry.host))
        return f"Closest allowed URLs: {_some([entry.shown for entry in ranked])}."


_ByHost = tuple[Mapping[str, list[Entry]], Mapping[str, list[Entry]]]


def _by_host(entries: Iterable[Entry]) -> _ByHost:
    """Index by the host itself, and by the host whose subdomains are covered."""
    itself: dict[str, list[Entry]] = {}
    below: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.itself:
            itself.setdefault(entry.host, []).append(entry)
        if entry.below:
            below.setdefault(entry.host, []).append(entry)
    return itself, below


def _candidates(index: _ByHost, host: str) -> Iterator[Entry]:
    itself, below = index
    yield from itself.get(host, ())
    rest = host
    while below and (dot := rest.find(".")) >= 0:
        rest = rest[dot + 1 :]
        yield from below.get(rest, ())


def _denial(rules: _Rules, target: Target) -> Denied | None:
    if not rules.deny:
        return None
    path = target.path_as_served
    for exact, below, rule in rules.deny:
        if not exact or path == exact or path.startswith(below):
            return Denied(f"The policy denies {target.origin}{target.path}.", None, rule)
    return None


def _likeness(host: str, other: str) -> float:
    if host.endswith(f".{other}") or other.endswith(f".{host}"):
        return 1.0
    return difflib.SequenceMatcher(None, host[-_COMPARED:], other[-_COMPARED:], autojunk=False).ratio()


def _some(shown: list[str]) -> str:
    more = len(shown) - _SHOWN
    return ", ".join(shown[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
