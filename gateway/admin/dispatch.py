"""One request through its operation: who asks, what is sent, is it right, the handler, the answer."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler as WebHandler
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from gateway.admin.answers import read_content
from gateway.admin.models import PolicyText, Query, Sent
from gateway.admin.operation import PARAMETERS, Answer, Call, Operation, missing
from gateway.admin.services import Services
from gateway.attempts import Attempts
from gateway.errors import ClientError, Refusal
from gateway.secret import Secret

SERVICES: web.AppKey[Services] = web.AppKey("services")
TOKEN = web.AppKey("admin_token", Secret)
ATTEMPTS = web.AppKey("attempts", Attempts)
ORIGIN: web.AppKey[list[str]] = web.AppKey("origin")
"""The listener's own URL in a list of one: it is known when the listener has its port."""

LARGEST_BODY = 1_048_576
"""Bytes: a policy with room to spare."""

log = structlog.get_logger("gateway.web")

_POLICY_TYPES = ("text/plain", "application/toml")
_ADAPTERS = {name: TypeAdapter[str](kind) for name, kind in PARAMETERS.items()}
_HOW = "Send Authorization: Bearer <admin token>."
_MEANWHILE = "Whoever is signed in stays so, and the `gateway` command line goes on working."
_WORDS = {
    "missing": "is required",
    "extra_forbidden": "is not known here",
}


def same_token(given: str, token: Secret) -> bool:
    """Whether `given` is the token, in a time that tells nothing of how much of it was right, nor of its length."""
    digests = (hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest() for text in (given, token.reveal()))
    return hmac.compare_digest(*digests)


def refusal_of(request: web.Request, given: str) -> Refusal | None:
    """Return why `given` doesn't open the door to who sent it; None where it is the admin token.

    Pages and API share one count of wrong ones for each address. While it is over, no token is looked at, not even the
    right one: else whoever guesses would learn by it which one that is.
    """
    attempts = request.config_dict[ATTEMPTS]
    if wait := attempts.wait(request.remote):
        detail = f"Too many wrong admin tokens came from your address. Wait {wait} s, then try again."
        refusal = Refusal(code="rate_limited", detail=detail, hint=_MEANWHILE, retry_after=wait)
    elif same_token(given, request.config_dict[TOKEN]):
        return None
    else:
        attempts.failed(request.remote)
        log.warning("admin.token_refused", remote=request.remote)
        refusal = Refusal(code="unauthorized", detail="The admin token is wrong.", hint=_HOW)
    request.config_dict[SERVICES].metrics.admin_refused(refusal.code)
    return refusal


def handler_of(operation: Operation) -> WebHandler:
    """Return what aiohttp calls for this operation."""

    async def handle(request: web.Request) -> web.StreamResponse:
        call = Call(
            services=request.config_dict[SERVICES],
            parameters=_parameters(request),
            query=read_query(operation.query, request.query),
            body=await _body(operation, request),
            actor="admin-api",
            origin=request.config_dict[ORIGIN][0],
        )
        return _response(await operation.handler(call))

    return handle


def require_token(request: web.Request) -> None:
    """Refuse whoever hasn't the admin token (RFC 6750 §2.1). Only the header counts: no browser adds it by itself."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise ClientError(Refusal(code="unauthorized", detail="The admin token is missing.", hint=_HOW))
    if refusal := refusal_of(request, token.strip()):
        raise ClientError(refusal)


def _parameters(request: web.Request) -> Mapping[str, str]:
    try:
        return {name: _ADAPTERS[name].validate_python(value) for name, value in request.match_info.items()}
    except ValidationError:
        raise missing("such thing") from None


def read_query(model: type[Query] | None, given: Any) -> Query | None:
    """Return the query as its model. Raises `ClientError` with every fault; a parameter given twice is one."""
    if model is None:
        return None
    twice = [{"path": name, "message": "is given more than once"} for name in set(given) if len(given.getall(name)) > 1]
    if twice:
        raise invalid(twice)
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        raise invalid(faults_of(error)) from None


async def _body(operation: Operation, request: web.Request) -> Sent | None:
    if operation.body is None:
        return None
    if operation.takes_policy and request.content_type in _POLICY_TYPES:
        return _policy(await read_content(request, most=LARGEST_BODY))
    if request.content_type != "application/json":
        types = ("application/json", *(_POLICY_TYPES if operation.takes_policy else ()))
        detail = f"The body must be {' or '.join(types)}, named in Content-Type."
        raise ClientError(Refusal(code="request_rejected", status=415, detail=detail))
    return read_json(operation.body, await read_content(request, most=LARGEST_BODY))


def read_json(model: type[Sent], raw: bytes) -> Sent:
    """Return the body as its model. Raises `ClientError`: 400 where it isn't JSON, 422 with every fault."""
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        if faults[0]["type"] == "json_invalid":
            detail = f"The body is not JSON: {faults[0]['msg'].removeprefix('Invalid JSON: ')}."
            raise ClientError(Refusal(code="request_rejected", detail=detail)) from None
        raise invalid([_fault(fault) for fault in faults]) from None


def _policy(raw: bytes) -> PolicyText:
    try:
        return PolicyText(policy=raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise ClientError(Refusal(code="request_rejected", detail="The policy is not UTF-8 text.")) from None
    except ValidationError as error:
        raise invalid(faults_of(error)) from None


def invalid(faults: list[dict[str, str]]) -> ClientError:
    """Return the error that lists every fault."""
    return ClientError(
        Refusal(code="invalid", detail=f"{len(faults)} of the values are not right.", errors=tuple(faults))
    )


def faults_of(error: ValidationError) -> list[dict[str, str]]:
    """Return each fault with its path. What was sent is never repeated: it may be a secret."""
    return [_fault(one) for one in error.errors(include_url=False, include_input=False, include_context=False)]


def _fault(error: ErrorDetails) -> dict[str, str]:
    path = ""
    for part in error["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    message = _WORDS.get(error["type"], error["msg"].removeprefix("Value error, "))
    return {"path": path, "message": message}


def _response(answer: Answer) -> web.StreamResponse:
    if answer.body is None:
        return web.Response(status=answer.status)
    return web.Response(body=json_of(answer.body), status=answer.status, content_type="application/json")


def json_of(model: BaseModel) -> bytes:
    """Return the model as JSON bytes."""
    return model.model_dump_json(by_alias=True).encode()
