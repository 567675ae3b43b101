"""A file for its owner alone: what others could read, change or exchange is refused, with what mends it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def somebody() -> Iterator[None]:
    """Be a user without root, with a group of their own, for a while."""
    os.setegid(SOMEBODY)
    os.seteuid(SOMEBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture
def mounted() -> Iterator[Path]:
    """A secret as kubelet mounts it for a pod's `fsGroup`: root's, behind two links, in directories that are sticky."""
    place = Path(tempfile.mkdtemp())  # pytest's own directory lets nobody else through
    version = place / "..2026_11_26"
    version.mkdir()
    (version / "key").write_bytes(b"hush\n")
    (place / "..data").symlink_to(version.name)
    (place / "key").symlink_to("..data/key")
    for one, mode in ((version / "key", 0o440), (version, 0o2755), (place, 0o3777)):
        os.chown(one, 0, SOMEBODY)
        one.chmod(mode)
    yield place / "key"
    shutil.rmtree(place)


@NEEDS_ROOT
def test_what_root_lends_to_our_group_is_read(mounted: Path):
    with somebody():
        assert read_private_file(mounted, "the key") == b"hush\n"


@NEEDS_ROOT
@pytest.mark.parametrize("mode", [0o460, 0o450, 0o444, 0o442, 0o441])
def test_root_lends_it_to_read_and_to_the_group_alone(mounted: Path, mode: int):
    mounted.chmod(mode)
    with somebody():
        assert refusal(mounted) == f"{mounted}: other users can read or change the key. Run: chmod 640 {mounted}"


@NEEDS_ROOT
def test_nobody_but_root_lends(mounted: Path):
    """A file of ours that a group can read is a slip; and a member of that group has no more say than anybody."""
    os.chown(mounted, SOMEBODY, SOMEBODY)
    with somebody():
        assert "other users can read or change the key. Run: chmod 600" in refusal(mounted)


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
