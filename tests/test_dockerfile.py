"""The image, read without an engine: each path, command and variable that the Dockerfile names is really there."""

import fnmatch
import json
import re
import shlex
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from gateway.secret import Secret
from gateway.settings import Settings, load_settings
from gateway.web.readiness import Readiness
from gateway.web.site import site
from gateway.web.wire import Bounds

ROOT = Path(__file__).parent.parent
VENV = "/opt/gateway"


class Instruction(NamedTuple):
    """One instruction: its word, its flags (`--from=build`), and the rest of the line."""

    stage: int
    word: str
    flags: tuple[str, ...]
    rest: str

    @property
    def words(self) -> list[str]:
        """The rest as words: exec form, or shell words."""
        return list(json.loads(self.rest)) if self.rest.startswith("[") else shlex.split(self.rest)


def parse(text: str) -> list[Instruction]:
    """Read a Dockerfile: comments out, continued lines joined, stages counted."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found: list[Instruction] = []
    for line in filter(None, map(str.strip, joined.splitlines())):
        word, _, rest = line.partition(" ")
        flags = []
        while flag := re.match(r"\s*(--\S+)\s*", rest):
            flags.append(flag[1])
            rest = rest[flag.end() :]
        stage = sum(one.word == "FROM" for one in found) + (word == "FROM")
        found.append(Instruction(stage, word.upper(), tuple(flags), rest.strip()))
    return found


INSTRUCTIONS = parse((ROOT / "Dockerfile").read_text())
LAST = [one for one in INSTRUCTIONS if one.stage == INSTRUCTIONS[-1].stage]


def only(word: str) -> Instruction:
    """Return the final stage's one instruction of this kind."""
    (found,) = [one for one in LAST if one.word == word]
    return found


def environment() -> dict[str, str]:
    return dict(word.split("=", 1) for word in only("ENV").words)


def test_the_final_stage_is_not_the_one_that_builds() -> None:
    """Whatever built the package stays behind."""
    assert INSTRUCTIONS[-1].stage == 2
    assert not any(one.word == "RUN" and "pip" in one.rest for one in LAST)


def test_what_is_copied_exists_and_reaches_the_build() -> None:
    """Each source is in the repository, and .dockerignore lets it through."""
    ignore = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    sources = [
        source
        for one in INSTRUCTIONS
        if one.word == "COPY" and not any(flag.startswith("--from=") for flag in one.flags)
        for source in one.words[:-1]
    ]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        ignored = False
        for pattern in ignore:
            if fnmatch.fnmatch(source, pattern.removeprefix("!")):
                ignored = not pattern.startswith("!")
        assert not ignored, source


def test_what_hatchling_reads_is_copied_before_the_install() -> None:
    """The package can't be built without its read-me and its code."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    install = next(place for place, one in enumerate(INSTRUCTIONS) if one.word == "RUN" and "-m build" in one.rest)
    copied = {source for one in INSTRUCTIONS[:install] if one.word == "COPY" for source in one.words[:-1]}
    needed = {"pyproject.toml", project["project"]["readme"]}
    needed |= set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert needed <= copied


LOCKS = {name: (ROOT / "locks" / name).read_text() for name in ("run.txt", "build.txt")}


def locked(name: str) -> dict[str, tuple[Version, int]]:
    """Each package of a lock with its version and how many hashes it has."""
    entries = re.split(r"\n(?=[a-z])", LOCKS[name])
    pins = [(re.match(r"([a-z0-9-]+)==([^ ]+)", entry), entry.count("--hash=sha256:")) for entry in entries]
    return {pin[1]: (Version(pin[2]), hashes) for pin, hashes in pins if pin}


def test_everything_that_the_image_installs_is_locked_by_hash() -> None:
    """No line of either lock stands without one, and pip is told to refuse what does."""
    for name in LOCKS:
        assert locked(name)
        assert all(hashes for _, hashes in locked(name).values())
    installs = [
        one for run in INSTRUCTIONS if run.word == "RUN" for one in run.rest.split("&&") if "pip install" in one
    ]
    assert len(installs) == 3
    for one in installs:
        assert "--require-hashes --only-binary :all: -r locks/" in one or "--no-index --no-deps" in one, one


def test_the_lock_has_what_the_project_asks_for() -> None:
    """`make lock` was run after the last change to the dependencies, with the extra for PostgreSQL."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["postgres"]]
    hook = project["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["mypyc"]["dependencies"]
    for name, requirements in {"run.txt": wanted, "build.txt": [*project["build-system"]["requires"], *hook]}.items():
        pins = locked(name)
        for requirement in map(Requirement, requirements):
            assert requirement.specifier.contains(pins[requirement.name][0]), requirement
    assert locked("run.txt").items() >= {
        (name, pin) for name, pin in locked("build.txt").items() if name in locked("run.txt")
    }


def test_the_base_image_has_a_python_that_we_support() -> None:
    """Both stages have the same one, or the environment that is copied over would not run."""
    versions = {one.rest.split()[0] for one in INSTRUCTIONS if one.word == "FROM"}
    (image,) = versions
    version = re.fullmatch(r"python:3\.(\d+)-slim", image)
    assert version is not None
    assert int(version[1]) >= 11


def test_the_entry_point_is_the_package_s_own() -> None:
    """`gateway serve` of the environment that was copied."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    (program,) = only("ENTRYPOINT").words
    assert program.removeprefix(f"{VENV}/bin/") in scripts
    assert only("CMD").words == ["serve"]
    assert any(f"--from=build {VENV} {VENV}" in " ".join((*one.flags, one.rest)) for one in LAST if one.word == "COPY")


def test_it_runs_without_root() -> None:
    """By number, so that an orchestrator can see it."""
    user, _, group = only("USER").rest.partition(":")
    assert int(user) > 0
    assert int(group) > 0


def test_every_variable_is_a_key_of_the_configuration_and_its_value_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {name: value for name, value in environment().items() if name.startswith("GATEWAY_")}
    assert ours
    for name in ours:
        section, _, key = name.removeprefix("GATEWAY_").lower().partition("__")
        field = Settings.model_fields[section]
        assert not key or key in field.annotation.model_fields  # type: ignore[union-attr]
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    load_settings(None)


def test_everything_that_is_written_goes_to_the_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    """The root filesystem may be read-only: data, store, key and policies are all below the volume."""
    (volume,) = only("VOLUME").words
    for name, value in environment().items():
        if name.startswith("GATEWAY_"):
            monkeypatch.setenv(name, value)
    settings = load_settings(None)
    places = [
        str(settings.data_dir),
        str(settings.policies_dir),
        settings.store.url.removeprefix("sqlite:///"),
        settings.keys.source.removeprefix("file:"),
    ]
    assert all(Path(place).is_relative_to(volume) for place in places), places
    assert environment()["PYTHONDONTWRITEBYTECODE"] == "1"


def test_the_policies_are_where_the_configuration_looks() -> None:
    copied = {one.words[-1]: one.words[0] for one in LAST if one.word == "COPY"}
    assert copied[environment()["GATEWAY_POLICIES_DIR"]] == "policies"


def test_it_listens_beyond_the_container_on_the_exposed_ports() -> None:
    listen = [environment()[name] for name in ("GATEWAY_PROXY__LISTEN", "GATEWAY_WEB__LISTEN")]
    assert [one.rpartition(":")[0] for one in listen] == ["0.0.0.0", "0.0.0.0"]
    assert only("EXPOSE").words == [one.rpartition(":")[2] for one in listen]


def test_the_health_check_asks_the_web_listener_for_a_route_that_exists() -> None:
    """A check that asks for nothing that is there would have a good container killed."""
    program, option, code = json.loads(only("HEALTHCHECK").rest.removeprefix("CMD "))
    assert (program, option) == (f"{VENV}/bin/python", "-c")
    compile(code, "HEALTHCHECK", "exec")
    asked = re.search(r"HTTPConnection\('127\.0\.0\.1', (\d+), .*request\('GET', '([^']+)'\)", code)
    assert asked is not None
    assert asked[1] == environment()["GATEWAY_WEB__LISTEN"].rpartition(":")[2]
    services: Any = SimpleNamespace(settings=Settings(), clock=lambda: 0.0, store=SimpleNamespace(meta=None))
    routes = site(
        services, Secret("admin-token"), Secret("seed"), [""], Bounds(), readiness=Readiness()
    ).router.resources()
    assert asked[2] in {route.canonical for route in routes}
