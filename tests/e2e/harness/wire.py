"""What must hold of a request at the upstream's socket, whichever client sent it and by whichever entrance."""

from base64 import b64encode
from collections.abc import Sequence

from tests.e2e.harness.provider import Application, Provider
from tests.e2e.harness.upstream import Recorded

# Host and the framing are regenerated, so their place may change; each is compared by value.
# Hop-by-hop: RFC 9110 §7.6.1.
REGENERATED = {b"host", b"content-length", b"transfer-encoding"}
HOP_BY_HOP = {b"connection", b"keep-alive", b"te", b"trailer", b"upgrade", b"proxy-connection"}
OURS = {b"authorization", b"via"}


def assert_one_credential(request: Recorded, provider: Provider, application: Application) -> None:
    """Exactly one credential went out, and it is the connection's own token."""
    (credential,) = request.values("authorization")
    assert credential.decode() in {f"Bearer {token}" for token in provider.tokens(application)}


def assert_nothing_of_the_gateway(request: Recorded, *, connection: str, token: str) -> None:
    """Neither the tag nor the client's token is anywhere in the bytes; of its own, the gateway adds `Via` alone."""
    raw = bytes(request.raw)
    names = [name.lower() for name, _ in request.fields]
    assert not [name for name in names if name.startswith(b"proxy-") or name == b"x-connection-id"]
    assert token.encode() not in raw
    assert b64encode(f"{connection}:{token}".encode()) not in raw
    assert connection.encode() not in raw
    assert names.count(b"via") == 1


def end_to_end(fields: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the fields that a proxy must hand on as they are, in order."""
    left_out = REGENERATED | HOP_BY_HOP | OURS
    return [(name, value) for name, value in fields if name.lower() not in left_out]


def assert_same_request(through: Recorded, direct: Recorded) -> None:
    """What came through the gateway is what the client sends directly: same target, fields, case, order and body."""
    assert through.line == direct.line
    assert end_to_end(through.fields) == end_to_end(direct.fields)
    for name in ("host", "content-length", "transfer-encoding"):
        assert through.values(name) == direct.values(name), name
    assert through.body == direct.body
