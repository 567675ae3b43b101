"""The policies directory as people and programs change it."""

import asyncio
import os
from pathlib import Path

import pytest

from gateway.catalog import Catalog, add
from gateway.errors import ClientError

GOOD = """
name = "Example"
base_url = "https://api.example.com"
[allow]
urls = ["https://api.example.com"]
[auth]
grant = "api_key"
[[fields]]
name = "api_key"
secret = true
[inject.headers]
Authorization = "Bearer {{ api_key }}"
"""
OTHER = GOOD.replace('name = "Example"', 'name = "Another"')
BROKEN = GOOD.replace('grant = "api_key"', 'grant = "magic"')


def put(directory: Path, app: str, text: str) -> None:
    """Write a file and move its time on, as any edit that a person makes does."""
    file = directory / f"{app}.toml"
    before = file.stat().st_mtime_ns if file.exists() else 0
    file.write_text(text, encoding="utf-8")
    os.utime(file, ns=(before + 10**9, before + 10**9))


def test_every_policy_of_the_directory_is_there_after_loading(tmp_path: Path) -> None:
    put(tmp_path, "one", GOOD)
    put(tmp_path, "two", OTHER)
    (tmp_path / "README.md").write_text("not a policy")
    catalog = Catalog(tmp_path)
    assert set(catalog.load()) == {"one", "two"}
    assert {app: policy.name for app, policy in catalog.policies.items()} == {"one": "Example", "two": "Another"}
    assert catalog.findings == ()
    assert catalog.generation("one") == 1
    assert catalog.generation("none") == 0


def test_a_directory_that_is_not_there_is_an_empty_catalog(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "nowhere")
    assert catalog.load() == ()
    assert catalog.get("one") is None


def test_a_directory_that_cannot_be_looked_into_takes_no_app_away(tmp_path: Path) -> None:
    """Here by a file in its place, for root may look into everything."""
    directory = tmp_path / "policies"
    directory.mkdir()
    put(directory, "one", GOOD)
    catalog = Catalog(directory)
    catalog.load()
    directory.rename(tmp_path / "away")
    directory.write_text("no directory")
    with pytest.raises(NotADirectoryError):
        catalog.load()
    assert list(catalog.policies) == ["one"]
    directory.unlink()
    (tmp_path / "away").rename(directory)
    assert catalog.load() == ()
    assert list(catalog.policies) == ["one"]


def test_a_broken_edit_keeps_the_last_good_policy_and_says_what_is_wrong(tmp_path: Path) -> None:
    put(tmp_path, "one", GOOD)
    catalog = Catalog(tmp_path)
    catalog.load()
    put(tmp_path, "one", BROKEN)
    assert catalog.load() == ()
    assert catalog.get("one") is not None
    assert [(finding.file, finding.path) for finding in catalog.findings] == [("one.toml", "auth.grant")]
    assert catalog.generation("one") == 1
    put(tmp_path, "one", OTHER)
    assert catalog.load() == ("one",)
    assert catalog.findings == ()
    assert catalog.generation("one") == 2


def test_a_file_that_is_touched_without_a_change_changes_nothing(tmp_path: Path) -> None:
    put(tmp_path, "one", GOOD)
    catalog = Catalog(tmp_path)
    catalog.load()
    put(tmp_path, "one", GOOD + "# a comment\n")
    assert catalog.load() == ()


def test_a_file_that_is_gone_takes_its_app_with_it(tmp_path: Path) -> None:
    put(tmp_path, "one", GOOD)
    catalog = Catalog(tmp_path)
    catalog.load()
    (tmp_path / "one.toml").unlink()
    assert catalog.load() == ("one",)
    assert catalog.get("one") is None
    assert catalog.generation("one") == 2


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * (1024 * 1024 + 1)], ids=["not-utf-8", "huge"])
def test_what_cannot_be_a_policy_is_a_finding(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "one.toml").write_bytes(content)
    catalog = Catalog(tmp_path)
    assert catalog.load() == ()
    assert [finding.file for finding in catalog.findings] == ["one.toml"]


def test_a_file_whose_name_is_no_app_is_a_finding(tmp_path: Path) -> None:
    put(tmp_path, "My App", GOOD)
    catalog = Catalog(tmp_path)
    catalog.load()
    assert catalog.get("My App") is None
    assert catalog.findings[0].file == "My App.toml"


def test_a_name_that_is_no_text_can_be_told(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"x\xff.toml")).write_text(GOOD)
    catalog = Catalog(tmp_path)
    catalog.load()
    assert [finding.file for finding in catalog.findings] == [r"x\udcff.toml"]


def test_what_is_no_file_is_a_finding_and_holds_nothing_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "loop.toml").symlink_to("loop.toml")
    (tmp_path / "place.toml").mkdir()
    put(tmp_path, "one", GOOD)
    catalog = Catalog(tmp_path)
    assert catalog.load() == ("one",)
    assert [(finding.file, finding.message) for finding in catalog.findings] == [
        ("loop.toml", "can't be read: Too many levels of symbolic links"),
        ("pipe.toml", "is not a regular file"),
        ("place.toml", "is not a regular file"),
    ]


def test_a_directory_that_is_made_is_nobody_elses_to_write_to(tmp_path: Path) -> None:
    """A policy says where credentials go."""
    before = os.umask(0)
    try:
        Catalog(tmp_path / "a" / "b").write("one", GOOD)
    finally:
        os.umask(before)
    modes = [(tmp_path / place).stat().st_mode & 0o777 for place in ("a", "a/b", "a/b/one.toml")]
    assert modes == [0o755, 0o755, 0o644]


def test_writing_puts_a_good_policy_in_place_at_once(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "policies")
    assert catalog.write("one", GOOD) == ()
    assert catalog.get("one") is not None
    assert (tmp_path / "policies" / "one.toml").read_text() == GOOD
    assert [file.name for file in (tmp_path / "policies").iterdir()] == ["one.toml"], "nothing is left lying about"


def test_writing_a_broken_policy_changes_nothing(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    catalog.write("one", GOOD)
    assert catalog.write("one", BROKEN)
    assert (tmp_path / "one.toml").read_text() == GOOD


@pytest.mark.parametrize("app", ["../evil", "", "A", "a/b", ".hidden", "a" * 64])
def test_a_name_that_is_no_app_is_refused(tmp_path: Path, app: str) -> None:
    with pytest.raises(ClientError):
        Catalog(tmp_path).write(app, GOOD)


def test_what_is_added_takes_no_files_place(tmp_path: Path) -> None:
    """Not even one that came since somebody looked; and nothing else is left lying there."""
    place = tmp_path / "new"
    assert add(place, "app", "first") is True
    assert add(place, "app", "second") is False
    (place / "linked.toml").symlink_to("elsewhere")
    assert add(place, "linked", "third") is False
    assert (place / "app.toml").read_text() == "first"
    assert sorted(file.name for file in place.iterdir()) == ["app.toml", "linked.toml"]


def test_deleting(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    catalog.write("one", GOOD)
    assert catalog.delete("one")
    assert catalog.get("one") is None
    assert not catalog.delete("one")


async def test_watching_tells_of_each_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.catalog.POLL_SECONDS", 0.001)
    catalog = Catalog(tmp_path)
    catalog.load()
    told: asyncio.Queue[str] = asyncio.Queue()
    watching = asyncio.create_task(catalog.watch(told.put_nowait))
    put(tmp_path, "one", GOOD)
    assert await told.get() == "one"
    put(tmp_path, "one", BROKEN)
    put(tmp_path, "two", OTHER)
    assert await told.get() == "two", "the broken edit is not told of"
    (tmp_path / "one.toml").unlink()
    assert await told.get() == "one"
    watching.cancel()


async def test_watching_goes_on_whatever_went_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever stops looking goes on with what was taken away."""
    monkeypatch.setattr("gateway.catalog.POLL_SECONDS", 0.001)
    catalog = Catalog(tmp_path)
    catalog.load()
    told: asyncio.Queue[str] = asyncio.Queue()

    def tell(app: str) -> None:
        told.put_nowait(app)
        raise RecursionError

    watching = asyncio.create_task(catalog.watch(tell))
    for app in ("one", "two"):
        put(tmp_path, app, GOOD)
        assert await asyncio.wait_for(told.get(), 10) == app
    watching.cancel()
