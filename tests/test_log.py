"""The log: one event is one line, a secret is never in it, and the standard library's loggers come the same way."""

import io
import json
import logging
import ssl
import sys
from collections.abc import Iterator

import pytest
import structlog

from gateway.log import configure_log
from gateway.secret import Secret


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, hook = root.handlers, root.level, sys.unraisablehook
    yield
    root.handlers, root.level = handlers, level
    sys.unraisablehook = hook
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_secret_shows_as_stars_wherever_it_stands(form: str) -> None:
    out = io.StringIO()
    configure_log(form=form, stream=out)
    log = structlog.get_logger().bind(bound=Secret("hush"))
    log.info("seen", token=Secret("hush"), nested={"a": [Secret("hush")], "b": (Secret("hush"),)}, s={Secret("hush")})
    logging.getLogger("aiohttp").error("answer %s", Secret("hush"))
    assert "hush" not in out.getvalue()
    assert out.getvalue().count("***") == 6


def test_json_is_one_object_a_line_with_time_level_and_keys() -> None:
    out = io.StringIO()
    configure_log(form="json", stream=out)
    structlog.get_logger().warning("token.refreshed", connection="crm-ann", tries=2)
    event = json.loads(out.getvalue())
    assert event.pop("timestamp").endswith("Z")
    assert event == {"event": "token.refreshed", "level": "warning", "connection": "crm-ann", "tries": 2}


def test_control_characters_of_a_caller_forge_no_line_and_move_no_cursor() -> None:
    out = io.StringIO()
    configure_log(form="console", stream=out)
    structlog.get_logger().info("x", host="a\r\nroot logged in\x1b[2J\u2028")
    assert out.getvalue().count("\n") == 1
    assert not {"\r", "\x1b", "\u2028"} & set(out.getvalue())


def test_an_event_with_what_is_no_text_is_written_all_the_same() -> None:
    out = io.StringIO()
    configure_log(form="json", stream=out)
    structlog.get_logger().warning("policy.invalid", file="x\udcff.toml", of={"a": Secret("hush")})
    assert json.loads(out.getvalue())["file"] == "x\udcff.toml"
    assert out.getvalue().isascii()
    assert "hush" not in out.getvalue()


def test_what_is_below_the_level_is_not_written() -> None:
    out = io.StringIO()
    configure_log(level="warning", stream=out)
    structlog.get_logger().info("quiet")
    logging.getLogger("sqlalchemy").info("quiet too")
    assert out.getvalue() == ""


def test_standard_library_loggers_come_out_the_same_way() -> None:
    out = io.StringIO()
    configure_log(form="json", stream=out)
    try:
        int("x")
    except ValueError:
        logging.getLogger("alembic").exception("it %s", "failed")
    event = json.loads(out.getvalue())
    assert (event["event"], event["logger"], event["level"]) == ("it failed", "alembic", "error")
    assert "ValueError: invalid literal" in event["exception"]


def test_what_cannot_be_raised_is_one_line_too() -> None:
    """A server name in a TLS handshake, which a caller writes, is one of those."""
    out = io.StringIO()
    configure_log(form="json", stream=out)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.sni_callback = lambda *_: None
    incoming = ssl.MemoryBIO()
    name = b"\xff.test"
    names = b"\0" + len(name).to_bytes(2) + name
    extension = b"\0\0" + (len(names) + 2).to_bytes(2) + len(names).to_bytes(2) + names
    hello = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x02\xc0\x2b" + b"\x01\0" + len(extension).to_bytes(2) + extension
    message = b"\x01" + len(hello).to_bytes(3) + hello
    incoming.write(b"\x16\x03\x01" + len(message).to_bytes(2) + message)
    with pytest.raises(ssl.SSLError):
        tls.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True).do_handshake()
    event = json.loads(out.getvalue())
    assert (event["event"], event["error"][:18]) == ("unraisable", "UnicodeDecodeError")
