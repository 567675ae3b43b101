"""How the command line ends: exit codes, one clear line for each error, no trace, no secret."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from gateway.cli.frame import exit_status, hoisted
from gateway.errors import ClientError, Refusal


def app_that(raises: BaseException) -> typer.Typer:
    app = typer.Typer(add_completion=False)

    @app.command()
    def work() -> None:
        raise raises

    return app


def test_a_refusal_is_one_line_with_what_to_do_next_and_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    error = ClientError(
        Refusal(code="not_found", detail="There is no connection x.", hint="See: gateway connections list")
    )
    assert exit_status(app_that(error), []) == 1
    assert capsys.readouterr().err == "error: There is no connection x. See: gateway connections list\n"


def test_faults_of_an_input_are_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    errors = ({"path": "a", "message": "wrong"}, {"path": "b", "message": "wrong too"})
    assert exit_status(app_that(ClientError(Refusal(code="invalid", detail="No.", errors=errors))), []) == 1
    assert capsys.readouterr().err == "error: a: wrong\nerror: b: wrong too\n"


def test_our_own_fault_shows_neither_trace_nor_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GATEWAY_LOG__LEVEL", raising=False)
    assert exit_status(app_that(RuntimeError("the password is hush")), []) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("error: internal fault: RuntimeError.")
    assert "hush" not in said


def test_an_interruption_is_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status(app_that(KeyboardInterrupt()), []) == 130
    assert "Traceback" not in capsys.readouterr().err


USES = {
    "an unknown command": (
        ["conect"],
        "error: No such command 'conect'. Did you mean 'connect', 'connections'? Try: gateway --help\n",
    ),
    "an unknown option": (
        ["connect", "x", "--colour"],
        "error: No such option: --colour. Try: gateway connect --help\n",
    ),
    "a missing argument": (["explain", "x"], "error: Missing argument 'method'. Try: gateway explain --help\n"),
    "a duration that is none": (
        ["clients", "create", "a", "--connection", "b", "--expires", "soon"],
        (
            "error: Invalid value for --expires: 'soon' is not a duration; write a number with ms, s, m, h or d "
            "behind it, such as 30s or 90d. Try: gateway clients create --help\n"
        ),
    ),
    "a status that is none": (
        ["connections", "list", "--status", "dead"],
        (
            "error: Invalid value for --status: 'dead' is none of pending, active, needs_reauthorization, "
            "disconnected. Try: gateway connections list --help\n"
        ),
    ),
}


@pytest.mark.parametrize("case", USES)
def test_wrong_usage_is_status_2_and_one_line(case: str, gateway: Callable[..., Any]) -> None:
    arguments, expected = USES[case]
    done = gateway(*arguments)
    assert (done.status, done.err) == (2, expected)


HOISTS = {
    "in front": (["--config", "f", "serve"], ["--config", "f", "serve"]),
    "behind": (["serve", "--config", "f"], ["--config", "f", "serve"]),
    "in one word": (["serve", "--config=f"], ["--config=f", "serve"]),
    "the program's own": (["run", "a", "--", "x", "--config", "f"], ["run", "a", "--", "x", "--config", "f"]),
    "both": (
        ["run", "a", "--config", "g", "--", "x", "--config", "f"],
        ["--config", "g", "run", "a", "--", "x", "--config", "f"],
    ),
    "nowhere": (["serve"], ["serve"]),
}


@pytest.mark.parametrize("case", HOISTS)
def test_the_configuration_may_be_named_anywhere_before_two_dashes(case: str) -> None:
    arguments, expected = HOISTS[case]
    assert hoisted(arguments) == expected


def test_a_wrong_configuration_is_named(gateway: Callable[..., Any], place: Path) -> None:
    (place / "other.toml").write_text("workers = 0\n[log]\nlevel = 'loud'")
    done = gateway("connections", "list", "--config", "other.toml")
    assert done.status == 1
    assert done.err.splitlines() == [
        "error: other.toml: workers: it should be greater than or equal to 1",
        "error: other.toml: log.level: it should be 'debug', 'info', 'warning' or 'error'",
    ]
