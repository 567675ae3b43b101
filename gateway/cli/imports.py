"""`gateway import`: policies from other people's lists of providers, of which the user has a copy.

A file that is there is never overwritten: whoever has edited a policy keeps it. Whatever couldn't be expressed is said.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.frame import NO, frame_of, run_async

if TYPE_CHECKING:
    from gateway.importing.outcome import Imported, Told

app = typer.Typer(name="import", help="Write policies from other lists of providers.", no_args_is_help=True)
Only = Annotated[list[str] | None, typer.Option("--only", metavar="NAME", help="This provider alone; may be repeated.")]
To = Annotated[str, typer.Option("--to", metavar="DIR", help="Where to; left out: policies_dir.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Write nothing, and say what would be written.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
LARGEST = 32 << 20  # bytes of a file, or of an answer; the largest that are known have ten million
_FETCHING = 30.0  # seconds
_REDIRECTS = 3


@app.command("nango")
def nango(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE|DIR", help="providers.yaml, or the package that has it.")],
    *,
    only: Only = None,
    to: To = "",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Write one policy for each provider of nango's list (the npm package @nangohq/providers)."""
    from gateway.importing.nango import from_nango

    document = _text(_inside(file, ["providers.yaml"]))
    found = _read(file, lambda told: from_nango(document, only or (), told))
    _put(context, found, only or [], to, dry_run=dry_run, as_json=json)


@app.command("grant")
def grant(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE|DIR", help="oauth.json, or the package that has it.")],
    *,
    only: Only = None,
    to: To = "",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Write one policy for each provider of grant's list (the npm package grant)."""
    from gateway.importing.grant import from_grant

    source = _inside(file, ["config/oauth.json", "oauth.json"])
    beside = source.with_name("profile.json")
    profiles = _text(beside) if beside.is_file() else "{}"
    document = _text(source)
    found = _read(file, lambda told: from_grant(document, profiles, only or (), told))
    _put(context, found, only or [], to, dry_run=dry_run, as_json=json)


@app.command("openapi")
def openapi(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="FILE|URL", help="An API's description, as JSON or YAML.")],
    *,
    name: Annotated[str, typer.Option("--name", help="The app's name; left out: from the description's title.")] = "",
    scheme: Annotated[str, typer.Option("--scheme", help="Of several security schemes or flows, this one.")] = "",
    to: To = "",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Write a policy from an API's own description: OpenAPI 3.0 or 3.1, or Swagger 2.0."""
    from gateway.importing.openapi import DocumentInvalid, from_description

    is_url = source.lower().startswith(("https://", "http://"))
    document, place = run_async(_fetched(context, source)) if is_url else (_text(Path(source)), "")
    try:
        found = [from_description(document, scheme or None, name or None, place)]
    except DocumentInvalid as error:
        raise _wrong(source, str(error)) from None
    _put(context, found, [], to, dry_run=dry_run, as_json=json)


# Reading.


def _inside(place: Path, names: Sequence[str]) -> Path:
    """Return the file, or the first of these names in the folder."""
    if not place.is_dir():
        return place
    found = next((place / name for name in names if (place / name).is_file()), None)
    if found is None:
        raise _wrong(place, f"has no {names[-1]}; name the file, or the unpacked npm package")
    return found


def _text(file: Path) -> str:
    try:
        if not file.is_file():
            raise _wrong(file, "is no file")
        if file.stat().st_size > LARGEST:
            raise _wrong(file, f"is over {LARGEST >> 20} MiB")
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise _wrong(file, "is not UTF-8 text") from None
    except OSError as error:
        raise _wrong(file, f"can't be read: {error.strerror}") from None


def _read(file: Path, work: "Callable[[Told], list[Imported]]") -> "list[Imported]":
    """Convert one provider after the other, and show how far it is."""
    from gateway.cli.output import progress
    from gateway.importing.data import FileInvalid

    try:
        with progress("Reading providers") as told:
            return work(told)
    except FileInvalid as error:
        raise _wrong(file, str(error)) from None


async def _fetched(context: typer.Context, url: str) -> tuple[str, str]:
    """Fetch a description by the one way out; return where it was in the end, too. Plain http is for this machine."""
    from urllib.parse import urljoin, urlsplit

    from gateway.egress import Egress
    from gateway.oauth.message import OutgoingRequest
    from gateway.policy.url import is_loopback

    networks = list(map(str, frame_of(context).settings().egress.allow_networks))
    own = ["127.0.0.0/8", "::1/128"] if is_loopback(urlsplit(url).hostname or "") else []
    egress = Egress(allow_networks=[*networks, *own])
    try:
        for _ in range(_REDIRECTS + 1):
            if "@" in urlsplit(url).netloc:
                raise _wrong(_shown(url), "has a name or a password in it; give the URL without")
            request = OutgoingRequest(method="GET", url=url.partition("#")[0], headers=(("Accept", "*/*"),))
            answer = await egress.send(request, timeout=_FETCHING, limit=LARGEST)
            if answer.status == 200:  # noqa: PLR2004
                return answer.body.decode("utf-8"), url
            if answer.status not in (301, 302, 303, 307, 308) or not answer.headers.get("location"):
                raise _wrong(_shown(url), f"was answered with {answer.status}")
            url = urljoin(url, answer.headers["location"])
    except UnicodeDecodeError:
        raise _wrong(_shown(url), "is not UTF-8 text") from None
    finally:
        await egress.close()
    raise _wrong(_shown(url), "redirects too often")


def _shown(url: str) -> str:
    """A URL without what may be secret in it."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _wrong(what: object, message: str) -> Exception:
    from gateway.errors import ClientError, Refusal

    return ClientError(Refusal(code="invalid", detail=f"{what} {message}."))


# Writing, and saying what came of it.


def _put(
    context: typer.Context, found: "list[Imported]", only: list[str], to: str, *, dry_run: bool, as_json: bool
) -> None:
    directory = Path(to) if to else frame_of(context).settings().policies_dir
    states = {one.name: _state(directory, one, dry_run=dry_run) for one in found}
    absent = [name for name in only if name not in states]
    if as_json:
        from gateway.cli.output import show_json

        show_json(_report(found, states, directory, dry_run=dry_run, absent=absent))
    else:
        _say(found, states, directory, brief=not only and len(found) > 1, dry_run=dry_run)
        _say_absent(absent)
    if absent or not any(one.text for one in found):
        raise typer.Exit(NO)


def _state(directory: Path, one: "Imported", *, dry_run: bool) -> str:
    """Write one policy; return what became of its file."""
    from gateway.catalog import SUFFIX, add

    if one.text is None:
        return "none"
    file = directory / f"{one.name}{SUFFIX}"
    try:
        is_there = file.exists() or file.is_symlink()
        if not is_there and (dry_run or add(directory, one.name, one.text)):
            return "new"
        return "unchanged" if file.read_bytes() == one.text.encode() else "left"
    except OSError as error:
        raise _wrong(file, f"can't be written or read: {error.strerror}") from None


def _report(
    found: "list[Imported]", states: dict[str, str], directory: Path, *, dry_run: bool, absent: list[str]
) -> dict[str, Any]:
    from gateway.importing.outcome import by_kind, ranked

    providers = [
        {
            "name": one.name,
            "kind": one.kind,
            "outcome": str(one.outcome),
            "file": states[one.name],
            "lacks": [{"what": lack.what, "detail": lack.detail} for lack in one.lacks],
            "notes": list(one.notes),
        }
        for one in found
    ]
    reasons = [{"what": what, "providers": names} for what, names in ranked(found)]
    kinds = {
        kind: {str(outcome): count for outcome, count in counts.items()} for kind, counts in by_kind(found).items()
    }
    return {
        "to": str(directory),
        "dry_run": dry_run,
        "kinds": kinds,
        "reasons": reasons,
        "absent": absent,
        "providers": providers,
    }


def _say(found: "list[Imported]", states: dict[str, str], directory: Path, *, brief: bool, dry_run: bool) -> None:
    """One line for each provider that needs a look; then the sums."""
    from gateway.cli.output import note, say, show_table
    from gateway.importing.outcome import Outcome, by_kind, ranked

    for one in found:
        if brief and one.outcome is Outcome.WHOLE and states[one.name] != "left":
            continue
        say(f"{one.name}: {_FILES[states[one.name]].format(dry='would be ' if dry_run else '')}, {_WORDS[one.outcome]}")
        for line in [*map(str, one.lacks), *(() if brief else one.notes)]:
            say(f"    {line}")
    if len(found) < 2:  # noqa: PLR2004  nothing to sum up
        note(_sum(states, directory, dry_run=dry_run))
        return
    counts = by_kind(found)
    sums = [(kind, [sum(of.values()), *(of.get(outcome, 0) for outcome in Outcome)]) for kind, of in counts.items()]
    rows = [*sums, ("all", [sum(column) for column in zip(*(numbers for _, numbers in sums), strict=True)])]
    table = [[kind, *numbers] for kind, numbers in rows]
    show_table(["kind", "providers", "whole", "in part", "not at all"], table, empty="")
    reasons = [[len(names), what, _few(names)] for what, names in ranked(found)]
    show_table(["providers", "what couldn't be expressed", "for example"], reasons, empty="Everything was expressed.")
    note(_sum(states, directory, dry_run=dry_run))


def _say_absent(absent: Iterable[str]) -> None:
    from gateway.cli.output import complain

    for name in absent:
        complain(f"{name}: the list has no provider of this name")


def _sum(states: dict[str, str], directory: Path, *, dry_run: bool) -> str:
    counts = {state: list(states.values()).count(state) for state in _FILES}
    written = f"{counts['new']} policies {'would be ' if dry_run else ''}written to {directory}"
    rest = f"{counts['unchanged']} were there as they are, {counts['left']} were there and differ, and stay"
    return f"{written}; {rest}; {counts['none']} couldn't be made."


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")  # noqa: PLR2004  as many as a line has


_FILES = {
    "new": "{dry}written",
    "unchanged": "unchanged",
    "left": "left as it is, for it is there and differs",
    "none": "no policy",
}
_WORDS = {"whole": "whole", "part": "in part", "none": "not at all"}
