"""Reading a form, and checking that it came from a page of ours."""

from collections.abc import Mapping
from urllib.parse import parse_qsl

from aiohttp import web

from gateway.admin.answers import read_content
from gateway.errors import ClientError, Refusal
from gateway.web.session import Session, Sessions

TOKEN_NAME = "form_token"  # noqa: S105 - the name of an input
LIMIT = 262_144
"""Bytes: more than any form of ours has, less than would hold the listener up."""
_FIELDS = 2_000
_OWN = frozenset({"same-origin", "none"})


async def read_form(
    request: web.Request, sessions: Sessions, *, limit: int = LIMIT
) -> tuple[Session, Mapping[str, str]]:
    """Return the session and the form's values. Raises `ClientError` unless a page of this session sent it.

    An administrator's may have `limit` bytes, anybody else's no more than a form of theirs has.

    Three things say so, and all must: the SameSite cookie, the token inside the form, and, from browsers that send it,
    Sec-Fetch-Site. Origin says nothing here: our Referrer-Policy makes browsers send `null`.
    """
    session = sessions.read(request)
    values = values_of(await read_raw(request, limit=limit if session is not None and session.admin else LIMIT))
    if not is_own(request) or session is None:
        raise foreign()
    if not sessions.is_form_token(session, values.pop(TOKEN_NAME, "")):
        raise foreign()
    return session, values


def is_own(request: web.Request) -> bool:
    """Whether the browser says that a page of ours sent it, or says nothing of it."""
    return request.headers.get("Sec-Fetch-Site", "none") in _OWN


async def read_raw(request: web.Request, *, limit: int) -> bytes:
    """Return a form as it came, whoever sent it. Raises `ClientError`: it is none, or is too large."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise ClientError(Refusal(code="request_rejected", status=415, detail="This place takes the form of its page."))
    return await read_content(request, most=limit)


def values_of(raw: bytes) -> dict[str, str]:
    """Return the values of a form as it came. Raises `ClientError`: it can't be read."""
    try:
        text = raw.decode("ascii")
        pairs = parse_qsl(
            text, keep_blank_values=True, strict_parsing=bool(text), errors="strict", max_num_fields=_FIELDS
        )
    except ValueError:
        raise ClientError(Refusal(code="request_rejected", detail="The form could not be read.")) from None
    return {name: value.replace("\r\n", "\n") for name, value in pairs if "\x00" not in name + value}


def foreign() -> ClientError:
    """Return the error for a form that didn't come from a page of ours."""
    return ClientError(
        Refusal(
            code="unauthorized",
            status=403,
            detail="This form didn't come from a page that this gateway gave to this browser, or it is too old.",
            hint="Load the page again and send it from there. Cookies must be allowed.",
        )
    )
