"""`gateway check`: every error of every policy at once."""

from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.frame import NO, frame_of

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.policy.load import Finding


def check(
    context: typer.Context,
    policies: Annotated[
        list[str] | None, typer.Argument(metavar="[POLICY]…", help="Apps or files; left out: all in policies_dir.")
    ] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Validate policies and run their examples: every error at once, with its file and key."""
    from gateway.cli.output import note, say, show_json

    files = _files(frame_of(context).settings().policies_dir, policies or [])
    findings = [finding for file in files for finding in _findings(file)]
    if json:
        shown = [{"file": one.file, "path": one.path, "message": one.message} for one in findings]
        show_json({"ok": not findings, "files": [str(file) for file in files], "findings": shown})
    else:
        for one in findings:
            say(f"{one.file}: {one.path}: {one.message}" if one.path else f"{one.file}: {one.message}")
        wrong = len({one.file for one in findings})
        note(
            f"{len(files)} policies checked; "
            + (f"{len(findings)} errors in {wrong}." if findings else "all are right.")
        )
    if findings:
        raise typer.Exit(NO)


def _files(directory: "Path", named: list[str]) -> "list[Path]":
    """Return the files to check. A name that is neither a file nor an app of the directory is an error."""
    from pathlib import Path

    from gateway.errors import PolicyError, Refusal

    if not named:
        found = sorted(directory.glob("*.toml"))
        if not found:
            hint = "Write one as <app>.toml, or set policies_dir."
            raise PolicyError(Refusal(code="not_found", detail=f"{directory}: there are no policies here.", hint=hint))
        return found
    files = []
    for name in named:
        candidates = [Path(name), directory / f"{name}.toml"]
        file = next((one for one in candidates if one.is_file()), None)
        if file is None:
            raise PolicyError(Refusal(code="not_found", detail=f"{name}: neither a file nor an app in {directory}."))
        files.append(file)
    return files


def _findings(file: "Path") -> "tuple[Finding, ...]":
    from gateway.policy.load import Finding, load

    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return (Finding(file=str(file), path="", message="it is not UTF-8 text"),)
    except OSError as error:
        return (Finding(file=str(file), path="", message=f"it can't be read: {error.strerror}"),)
    return load(text, app=file.stem, file=str(file)).findings
