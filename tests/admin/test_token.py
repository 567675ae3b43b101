"""The admin token: where it comes from, who can read it, and what it is refused for."""

import os
import stat

import pytest

from gateway.admin.dispatch import same_token
from gateway.admin.token import load_admin_token, token_file
from gateway.errors import StartError
from gateway.secret import Secret
from gateway.settings import Settings


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=tmp_path / "data")


def test_the_environment_wins_and_no_file_is_made(settings):
    token = load_admin_token(settings, {"GATEWAY_ADMIN_TOKEN": " a-long-token-of-mine "})
    assert token == Secret("a-long-token-of-mine")
    assert not token_file(settings).exists()


def test_the_first_start_makes_a_file_that_only_its_owner_reads(settings):
    token = load_admin_token(settings, {})
    path = token_file(settings)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == token.reveal() + "\n"
    assert token.reveal().startswith("gwa_")
    assert len(token.reveal()) == 47
    assert [one.name for one in path.parent.iterdir()] == ["admin.token"]


def test_the_next_start_reads_the_same_token(settings):
    assert load_admin_token(settings, {}) == load_admin_token(settings, {})


def test_a_file_that_another_process_made_meanwhile_is_kept(settings, monkeypatch):
    theirs = "gwa_the-token-of-the-process-that-was-faster"

    def link(_draft, path):
        path.write_text(theirs)
        path.chmod(0o600)
        raise FileExistsError(17, "File exists")

    monkeypatch.setattr(os, "link", link)
    assert load_admin_token(settings, {}) == Secret(theirs)


def test_a_file_that_others_can_read_is_refused_with_the_command_that_mends_it(settings):
    load_admin_token(settings, {})
    token_file(settings).chmod(0o644)
    with pytest.raises(StartError, match="chmod 600"):
        load_admin_token(settings, {})


def test_a_directory_in_its_place_is_one_clear_line(settings):
    token_file(settings).mkdir(parents=True, mode=0o700)
    with pytest.raises(StartError, match="not in a regular file"):
        load_admin_token(settings, {})


@pytest.mark.parametrize("token", ["short", "x"])
def test_a_token_that_can_be_guessed_is_refused_and_not_repeated(settings, token):
    with pytest.raises(StartError) as error:
        load_admin_token(settings, {"GATEWAY_ADMIN_TOKEN": token})
    assert "shorter than 16" in str(error.value)
    assert token not in str(error.value).replace("shorter", "").replace("GATEWAY_ADMIN_TOKEN", "").split()


@pytest.mark.parametrize(
    ("given", "same"), [("abc", True), ("abd", False), ("", False), ("abcd", False), ("\udcff", False)]
)
def test_tokens_are_compared_whole_whatever_bytes_are_given(given, same):
    assert same_token(given, Secret("abc")) is same
