"""A file for its owner alone: what others could read, change or exchange is refused, with what mends it."""

import os
from pathlib import Path

import pytest

from gateway.errors import StartError
from gateway.store.private_file import make_private_file, read_private_file

SOMEBODY = 12345
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "data" / "secret"
    make_private_file(made, b"hush\n")
    return made


def refusal(path: Path) -> str:
    with pytest.raises(StartError) as raised:
        read_private_file(path, "the key")
    assert "hush" not in str(raised.value)
    return str(raised.value)


def test_it_is_made_for_its_owner_alone_and_read_back(path: Path):
    assert read_private_file(path, "the key") == b"hush\n"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [one.name for one in path.parent.iterdir()] == ["secret"]


def test_one_that_is_there_is_kept(path: Path):
    make_private_file(path, b"another")
    assert path.read_bytes() == b"hush\n"


def test_one_that_is_not_there_is_none_and_a_link_to_nowhere_too(tmp_path: Path):
    (tmp_path / "link").symlink_to("nowhere")
    assert read_private_file(tmp_path / "file", "the key") is None
    assert read_private_file(tmp_path / "link", "the key") is None


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o666])
def test_what_others_can_read_or_change_is_refused_also_behind_a_link(path: Path, tmp_path: Path, mode: int):
    path.chmod(mode)
    link = tmp_path / "link"
    link.symlink_to(path)
    for name in (path, link):
        assert refusal(name) == f"{name}: other users can read or change the key. Run: chmod 600 {name}"


def test_a_stricter_mode_is_right_as_well(path: Path):
    path.chmod(0o400)
    assert read_private_file(path, "the key") == b"hush\n"


@NEEDS_ROOT
def test_a_file_of_another_user_is_refused(path: Path):
    os.chown(path, SOMEBODY, -1)
    assert f"{path}: the key is in a file of another user ({SOMEBODY}). " in refusal(path)


@NEEDS_ROOT
def test_a_link_of_another_user_is_refused_wherever_it_leads(path: Path, tmp_path: Path):
    link = tmp_path / "link"
    link.symlink_to(path)
    os.chown(link, SOMEBODY, -1, follow_symlinks=False)
    assert "the key is behind a symbolic link of another user. Name the file itself." in refusal(link)


@NEEDS_ROOT
def test_a_directory_of_another_user_is_refused_though_the_file_is_ours(path: Path):
    """Whoever owns it can exchange what is in it, for instance for the key of before."""
    os.chown(path.parent, SOMEBODY, -1)
    assert f"{path.parent}: it belongs to another user ({SOMEBODY})" in refusal(path)


def test_a_directory_in_which_everybody_may_exchange_it_is_refused_and_a_sticky_one_is_not(path: Path, tmp_path: Path):
    """Of the file as of a link that leads to it: either decides what is read."""
    link = tmp_path / "links" / "link"
    link.parent.mkdir()
    link.symlink_to(path)
    for directory, names in ((path.parent, (path, link)), (link.parent, (link,))):
        directory.chmod(0o777)
        for name in names:
            assert f"{directory}: every user can put other files there, in the place of the key too" in refusal(name)
            assert f"Run: chmod o-w {directory}" in refusal(name)
        directory.chmod(0o1777)
        for name in names:
            assert read_private_file(name, "the key") == b"hush\n"
        directory.chmod(0o700)


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "directory").mkdir(mode=0o700)
    for name in ("pipe", "directory"):
        assert "is not in a regular file" in refusal(tmp_path / name)
