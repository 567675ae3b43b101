"""What is printed: safe for a terminal, readable by a program."""

from collections.abc import Callable

import pytest

from gateway.cli.output import complain, note, plain, say, show_table


def test_what_a_provider_calls_an_account_can_not_talk_to_the_terminal() -> None:
    assert plain("Ann\x1b[2J\r\nroot\u2028") == r"Ann\x1b[2J\r\nroot\u2028"


@pytest.mark.parametrize("tell", [say, note, complain])
def test_no_line_talks_to_the_terminal_whoever_wrote_what_is_in_it(
    tell: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """A finding has the keys of somebody's policy, an explanation the values of a provider."""
    tell("a\x1b]0;title\x07b\nc\x9b2J")
    printed = "".join(capsys.readouterr())
    assert printed.removeprefix("error: ") == "a\\x1b]0;title\\x07b\\nc\\x9b2J\n"


@pytest.mark.parametrize("nothing", [None, ""])
def test_nothing_is_a_dash(nothing: str | None) -> None:
    assert plain(nothing) == "-"


def test_a_table_is_tab_separated_where_no_person_looks(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(("ID", "LABEL"), [("a", "[bold]A\tB"), ("b", None)], empty="none")
    assert capsys.readouterr().out == "ID\tLABEL\na\t[bold]A\\tB\nb\t-\n"


def test_an_empty_table_is_a_note_beside_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(("ID",), [], empty="There are none.")
    assert capsys.readouterr() == ("", "There are none.\n")


def test_a_hint_follows_as_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    complain("it is gone", "Look again.")
    assert capsys.readouterr().err == "error: it is gone. Look again.\n"
