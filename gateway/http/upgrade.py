"""Upgrade: which protocols may be offered, and which answer takes up an offer (RFC 9110 §7.8, §15.2.2)."""

import re

from gateway.http.fields import list_members

_TOKEN = rb"[!#$%&'*+.^_`|~0-9a-z-]+"
_PROTOCOL = re.compile(rb"%b(?:/%b)?" % (_TOKEN, _TOKEN))
_HIDES_REQUESTS = (b"h2", b"h3", b"http", b"spdy", b"tls")  # they carry requests that nobody would decide on


def may_be_offered(upgrade: bytes) -> bool:
    """Whether `Upgrade` is a list of protocols, none of which would hide requests from us.

    What is no protocol's name isn't offered either: some server may find a name in it.
    """
    members = list_members(upgrade)
    return bool(members) and all(
        _PROTOCOL.fullmatch(member) and not member.startswith(_HIDES_REQUESTS) for member in members
    )


def takes_up(answer: bytes, offer: bytes | None) -> bool:
    """Whether a 101's `Upgrade` names protocols that were offered, and no other.

    A server must say what it switches to. One that can be made to answer 101 without it has switched to nothing, and
    goes on to read requests.
    """
    members = list_members(answer)
    return bool(members) and frozenset(members) <= frozenset(list_members(offer or b""))
