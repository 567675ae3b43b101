"""nango's URLs as ours: one of the alternatives, and where in its host a value may stand."""

import re

from gateway.importing.data import text
from gateway.importing.draft import Draft
from gateway.importing.names import registrable
from gateway.importing.nango.entry import Entry, host_in
from gateway.importing.nango.expression import references
from gateway.importing.nango.fields import Fields
from gateway.importing.nango.shape import Shape
from gateway.importing.nango.values import Values
from gateway.importing.outcome import NotImportable

_BEGINS = re.compile(r"(https?://)?((?:\$\{[^}]*\}|[^/?#$])*)")
_ORIGIN = re.compile(r"(?:https?://)?(?:\{\{[^}]*\}\}|[^/?#{])*")


class Urls:
    """The URLs of one provider."""

    def __init__(self, entry: Entry, fields: Fields, shapes: dict[str, Shape], values: Values, draft: Draft) -> None:
        self._entry = entry
        self._fields = fields
        self._shapes = shapes
        self._values = values
        self._draft = draft

    def read(self, written: str) -> str:
        """Return a URL as the policy has it, or "" for none. Raises `NotImportable`."""
        if not text(written):
            return ""
        usable = self._entry.usable(text(written))
        url = self._chosen(usable)
        begins = _BEGINS.match(url)
        host = begins[0] if begins else ""
        if "${step" in host:
            raise NotImportable("a second request to a host that the first one's answer names")
        if re.search(r":\$\{", host.partition("://")[2]):
            raise NotImportable("a port that the person chooses, behind a host that is partly written out", url[:80])
        for name in references(host):
            self._fields.use(_key(name), shown=True, needed=True)
            if self._fields.is_found(_key(name)) and self._shapes.get(_key(name), Shape()).kind != "text":
                self._fields.pin(_key(name), self.domains())
        for name in references(url):
            self._fields.use(_key(name), shown=True, needed=True) if self._fields.knows(_key(name)) else None
        if "://" not in url and not url.startswith("${"):
            raise NotImportable("a URL without a scheme", url[:60])
        return self._values.whole(url, shown=True).strip()

    def origin(self, url: str) -> str:
        """Return what of a URL says where it goes."""
        match = _ORIGIN.match(url)
        return match[0].rstrip("/") if match else url

    def domains(self) -> list[str]:
        """The domains of the provider's own URLs: below them are the hosts that its answers may name."""
        written = [one for url in self._entry.urls() for one in self._entry.usable(url)]
        hosts = [host_in(one).lower() for one in written]
        found = [domain for host in hosts if host and "$" not in host and (domain := registrable(host))]
        if not found:
            tails = [host.rpartition("}")[2].lstrip(".-") for host in hosts if "$" in host]
            found = [domain for tail in tails if "." in tail and (domain := registrable(tail))]
        if not found:
            examples = [text(spec.get("example")).rpartition("://")[2] for spec in self._entry.config.values()]
            found = [domain for one in examples if "." in one and " " not in one and (domain := registrable(one))][:1]
            if found:
                self._draft.note(f"The host that an answer names is pinned to {found[0]}, from nango's example of it.")
        if not found:
            raise NotImportable("a host that an answer names, with nothing to pin it to")
        return list(dict.fromkeys(found))

    def _chosen(self, found: list[str]) -> str:
        """The alternative that can stand here; what is literal in the next is the default of what may be missing."""
        for number, url in enumerate(found[:-1]):
            keys = [key for key in map(_key, references(url)) if self._may_be_missing(key)]
            if not keys:
                return url
            following = found[number + 1]
            if len(keys) == 1 and (default := _difference(url, following)):
                self._take(*default)
                return url
            self._draft.lack("another URL for where a value is given", url)
        return found[-1]

    def _may_be_missing(self, key: str) -> bool:
        return self._fields.is_optional(key) and not self._fields.has_default(key)

    def _take(self, key: str, value: str) -> None:
        """Make a literal the default of a field, and one of its choices."""
        shape = self._shapes.get(key, Shape())
        value = f"https://{value}" if shape.kind == "url" and "://" not in value else value
        row = self._fields.row(key)
        if row.get("choices") and value not in row["choices"]:
            row["choices"] = [*row["choices"], value]
        self._fields.default(key, value)


def _key(name: str) -> str:
    return re.sub(r"^(?:connectionConfig|connection_config|credentials)\.", "", name)


def _difference(url: str, other: str) -> tuple[str, str] | None:
    """The value of `url`, and what stands in its place in `other`, where all else is the same."""
    names = references(url)
    if len(names) != 1 or "${" in other:
        return None
    before, after = url.split(f"${{{names[0]}}}", 1)
    if other.startswith(before) and other.endswith(after) and len(other) > len(before) + len(after):
        return _key(names[0]), other[len(before) : len(other) - len(after) or None]
    return None
