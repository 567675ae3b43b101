"""A request of the gateway's own with OAuth 1.0a's signature on it: a login is signed as all requests are."""

from dataclasses import replace

from gateway.http.target import parse_target
from gateway.oauth.message import OutgoingRequest
from gateway.policy.oauth1 import OAuth1
from gateway.policy.request import RequestValues
from gateway.secret import Secret


def signed(request: OutgoingRequest, signer: OAuth1, *, now: float, random: bytes) -> OutgoingRequest:
    """Return the request as it is to leave. `now` is in epoch seconds, `random` has `ENTROPY` bytes."""
    target = parse_target(request.url)
    values = RequestValues(method=request.method, target=target, body=request.body, now=now, random=random)
    sent = [(name.encode(), value.encode()) for name, value in request.headers]
    fields, signature = signer.fields(values, sent)
    added = tuple((name.decode(), value.decode()) for name, value in fields)
    return replace(request, headers=(*request.headers, *added), secrets=(*request.secrets, Secret(signature)))
