"""The documents at the root say what is so: each command is there, each file is there, each version is the same."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer

import gateway
from gateway.cli import app
from gateway.errors import PROBLEMS
from gateway.policy.load import load

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DOCUMENTS = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"]
COMMANDS = typer.main.get_command(app)


def blocks(document: str, language: str) -> list[str]:
    """Return the document's code blocks in one language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)


def lines(document: str) -> list[str]:
    """Return the shell lines of a document, comments off, what stands in `$(…)` by itself, and inline code as well."""
    shell = "\n".join(blocks(document, "sh"))
    inline = re.findall(r"`((?:gateway|make) [^`]+)`", (ROOT / document).read_text())
    nested = re.findall(r"\$\((.*)\)", shell)
    return [line.split("  #")[0].strip() for line in [*shell.splitlines(), *nested, *inline]]


def wrong_use(line: str) -> str | None:
    """Say what is wrong with a `gateway …` line: an unknown command or option. None: nothing is."""
    command, words = COMMANDS, shlex.split(line)[1:]
    while words and (below := getattr(command, "commands", None)) and not words[0].startswith("-"):
        if words[0] not in below:
            return f"{line}: there is no command {words[0]}"
        command, words = below[words[0]], words[1:]
    known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)} | {
        "--help",
        "--config",
    }
    used = {
        word.partition("=")[0]
        for word in (words[: words.index("--")] if "--" in words else words)
        if word.startswith("--")
    }
    return f"{line}: there is no {', '.join(sorted(used - known))}" if used - known else None


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_gateway_command_in_it_exists(document: str) -> None:
    """Whoever copies a line from a document gets what it says."""
    used = [line for line in lines(document) if line.startswith("gateway ")]
    assert not [fault for line in used if (fault := wrong_use(line))]
    assert used or document == "CONTRIBUTING.md"


def test_a_command_that_does_not_exist_would_be_found() -> None:
    """The check above can fail."""
    assert wrong_use("gateway connekt stripe") == "gateway connekt stripe: there is no command connekt"
    assert wrong_use("gateway connections list --colour=red") is not None


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_target_in_it_exists(document: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = {
        word for line in lines(document) if line.startswith("make ") for word in shlex.split(line)[1:] if word.isalpha()
    }
    assert used <= targets


def test_the_read_me_opens_with_what_this_is_and_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert re.findall(r"^make \w+", text, re.MULTILINE)[:2] == ["make demo", "make test"]
    assert text.index("make demo") < 1500


@pytest.mark.parametrize("document", [*DOCUMENTS, "CHANGELOG.md"])
def test_every_file_it_links_to_is_there(document: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / document).read_text())
    assert not [link for link in links if "://" not in link and not (ROOT / link).exists()]


def test_the_codes_in_the_read_me_are_the_gateway_s_own_with_their_status() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert rows
    assert not [row for row in rows if row[0] not in PROBLEMS or PROBLEMS[row[0]].status != int(row[1])]


def test_the_policy_in_the_read_me_is_right() -> None:
    """Whoever starts from it starts from something that `gateway check` accepts."""
    (text,) = blocks("README.md", "toml")
    assert load(text, app="example", file="README.md").findings == ()


def test_the_version_is_the_same_everywhere_and_has_its_changes() -> None:
    assert gateway.__version__ == PROJECT["version"]
    assert re.search(rf"^## {re.escape(PROJECT['version'])}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_every_dependency_has_a_lower_bound_and_its_reason() -> None:
    """What a package is for stands in ARCHITECTURE.md; one that nobody can explain is one too many."""
    runtime = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["postgres"]]
    reasons = " ".join(re.findall(r"^\| ([^|]+) \|", (ROOT / "ARCHITECTURE.md").read_text(), re.MULTILINE))
    for requirement in runtime:
        name = re.match(r"[a-z0-9-]+", requirement)
        assert name is not None
        assert ">=" in requirement
        assert re.search(rf"\b{name[0]}\b", reasons), name[0]


def test_every_room_is_on_the_map() -> None:
    """A newcomer finds each package and module of gateway/ in ARCHITECTURE.md."""
    rooms = {
        path.stem for path in (ROOT / "gateway").iterdir() if path.name[0] not in "_." and path.suffix in ("", ".py")
    }
    named = set(re.findall(r"`(\w+)`", (ROOT / "ARCHITECTURE.md").read_text()))
    assert rooms <= named


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make here")
def test_make_says_clearly_that_there_is_no_python_new_enough(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").touch()
    run = subprocess.run(
        ["make", "test", "PYTHON=/nonexistent/python3"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode != 0
    assert "No Python 3.11 or newer with venv was found at /nonexistent/python3." in run.stderr
    assert not (tmp_path / ".venv").exists()


SERVES = """
import sys
before = set(sys.modules)
import gateway.app.worker
loaded = set(sys.modules) - before
import importlib.metadata
print(*sorted({name.partition(".")[0] for name in loaded} & importlib.metadata.packages_distributions().keys()))
"""
DATA_PLANE = {
    "gateway": "ours",
    "httptools": "llhttp",
    "orjson": "bodies that are merged",
    "cryptography": "sealed credentials, and the certificates of tunnels",
    "_cffi_backend": "of cryptography",
    "aiohappyeyeballs": "dials",
    "sqlalchemy": "the store",
    "greenlet": "of sqlalchemy",
    "aiosqlite": "the store's driver, where it is SQLite",
    "pydantic": "policies and settings",
    "pydantic_core": "of pydantic",
    "pydantic_settings": "settings",
    "annotated_types": "of pydantic",
    "typing_inspection": "of pydantic",
    "typing_extensions": "of pydantic and sqlalchemy",
    "dotenv": "of pydantic-settings",
    "jinja2": "the parser of {{ }} in policies",
    "markupsafe": "of jinja2",
    "re2": "patterns of fields",
    "publicsuffixlist": "the checks of policies",
    "structlog": "the log",
    "rich": "structlog takes it where it is installed",
    "pygments": "of rich",
    "attr": "of rich, where it is installed",
    "uvloop": "the loop",
}


def test_a_process_of_the_data_plane_loads_what_it_needs_and_no_more() -> None:
    """Each of these could read the keys: a new one needs a reason here. The control plane's are not among them."""
    done = subprocess.run([sys.executable, "-c", SERVES], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(done.stdout.split())
    assert loaded <= DATA_PLANE.keys()
    assert {"httptools", "cryptography", "sqlalchemy"} <= loaded
