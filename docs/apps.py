"""`docs/apps.md`, made from `policies/`: `python docs/apps.py` writes it anew, and a test fails where it is stale."""
# ruff: noqa: INP001 - a script

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "apps.md"
HEAD = """# Apps

The {count} policies that come with the gateway, as their files in [`policies/`](../policies) say it: this page is made
from them by `python docs/apps.py`. To begin with one, choose it where an app is set up, or copy its file into your
`policies_dir`.

| app | file | grant | where its credentials may go | asks the person for | scopes | test call | its documentation |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""
_LINK = re.compile(r"https://[^\s,;]+[^\s,;.)]")
_FIELD = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def page() -> str:
    """Return the page as it should be."""
    policies = {file: tomllib.loads(file.read_text()) for file in (ROOT / "policies").glob("*.toml")}
    files = sorted(policies, key=lambda file: policies[file]["name"].casefold())
    return HEAD.format(count=len(files)) + "".join(_row(file, policies[file]) for file in files)


def _row(file: Path, policy: dict[str, Any]) -> str:
    fields = [field for field in policy.get("fields", ()) if "from" not in field and not field.get("hidden")]
    cells = (
        policy["name"],
        f"[{file.stem}](../policies/{file.name})",
        policy["auth"]["grant"].replace("_", " "),
        _hosts(policy["allow"]["urls"], policy.get("fields", ())),
        ", ".join(map(_asked, fields)),
        ", ".join(f"`{scope}`" for scope in _scopes(policy["auth"])),
        _test(policy.get("test")),
        f"[{_site(link)}]({link})" if (link := _documentation(file.read_text())) else "",
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def _shown(url: str) -> str:
    return _FIELD.sub(r"{\1}", url)


def _hosts(urls: list[str], fields: Sequence[dict[str, Any]]) -> str:
    """Return each host once, and what the fields in it may be."""
    hosts = list(dict.fromkeys(_shown(url).removeprefix("https://").partition("/")[0] for url in urls))
    written = ", ".join(f"`{host}`" for host in hosts)
    named = (field for field in fields if f"{{{field['name']}}}" in written)
    return "; ".join([written, *map(_may_be, named)])


def _may_be(field: dict[str, Any]) -> str:
    name = f"`{{{field['name']}}}`"
    if choices := field.get("choices"):
        return f"{name} is {' or '.join(choices)}"
    if domains := field.get("domains"):
        return f"{name} is on {' or '.join(domains)}"
    return f"{name} is the person's own"


def _asked(field: dict[str, Any]) -> str:
    label = field.get("label") or field["name"].replace("_", " ").capitalize()
    return label if field.get("required", True) else f"{label} (may stay empty)"


def _scopes(auth: dict[str, Any]) -> list[str]:
    return [scope for section in ("authorize", "device") for scope in auth.get(section, {}).get("scopes", ())]


def _test(test: dict[str, Any] | None) -> str:
    return f"`{test.get('method', 'GET')} {_shown(test['url'])}`" if test else ""


def _documentation(text: str) -> str | None:
    """Return the first link of the comment that a policy begins with."""
    comment = text.partition("\nname = ")[0]
    found = _LINK.search(comment)
    return found[0] if found else None


def _site(link: str) -> str:
    return link.split("/")[2].removeprefix("www.")


if __name__ == "__main__":
    PAGE.write_text(page())
