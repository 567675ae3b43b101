"""Checks of [auth.assertion]: that something uses it, and that what is signed can be."""

from collections.abc import Iterator

from gateway.policy.draft import Draft
from gateway.policy.finding import Fault, key_path
from gateway.policy.model import Assertion, Auth, Grant, Script
from gateway.policy.template import Template, TemplateInvalid
from gateway.policy.value import leaves

_SECTIONS = ("token", "exchange", "refresh", "revoke")
_SHORTEST = 60.0  # seconds; half of it goes to clocks that differ
_SHORTEST_TOKEN = 120.0  # as above, and a token is used for a while
_SYMMETRIC = "HS"  # RFC 7518 §3.2


def check(draft: Draft) -> Iterator[Fault]:
    """Yield the faults of the signed statement."""
    auth = draft.auth
    if auth is None:
        return
    for section in _SECTIONS:
        if getattr(getattr(auth, section), "client_auth", None) == "jwt":
            if auth.assertion is None:
                yield f"auth.{section}.client_auth", "signs who the client is; add [auth.assertion] with its key"
            elif auth.client_id is None:
                yield f"auth.{section}.client_auth", "says which client it is; add auth.client_id"
    if auth.assertion is not None:
        yield from _statement(auth.assertion, auth)


def _statement(assertion: Assertion, auth: Auth) -> Iterator[Fault]:
    if auth.grant.has_token and auth.grant is not Grant.OAUTH1 and not _is_used(auth):
        right = 'say client_auth = "jwt" in [auth.token], or name {{ assertion }} there'
        yield "auth.assertion", f"is signed for nothing with the grant {auth.grant}; {right}, or leave it out"
    shortest = _SHORTEST_TOKEN if auth.grant is Grant.JWT else _SHORTEST
    if assertion.lifetime < shortest:
        yield "auth.assertion.lifetime", f"must be at least {shortest:g}s, for clocks differ"
    if assertion.key_encoding != "text" and not assertion.algorithm.startswith(_SYMMETRIC):
        yield "auth.assertion.key_encoding", f"has no use for {assertion.algorithm}, whose key is PEM; leave it out"
    if "exp" in assertion.claims:
        yield "auth.assertion.claims.exp", "is what lifetime says; leave it out"
    for name in assertion.headers:
        if name.lower() in ("alg", "kid"):
            key = {"alg": "algorithm", "kid": "key_id"}[name.lower()]
            yield key_path(("auth", "assertion", "headers", name)), f"is what {key} says; leave it out"


def _is_used(auth: Auth) -> bool:
    if auth.grant in (Grant.JWT, Grant.JWT_BEARER):
        return True
    return any(_uses(getattr(auth, section)) for section in _SECTIONS)


def _uses(section: object) -> bool:
    if getattr(section, "client_auth", None) == "jwt":
        return True
    for key in ("params", "headers"):
        for _, leaf in leaves(getattr(section, key, None) or {}, ""):
            if isinstance(leaf, Script):
                if "assertion" in leaf.js:
                    return True
                continue
            try:
                if ("assertion",) in Template.parse(leaf).paths:
                    return True
            except TemplateInvalid:
                return True  # said already
    return False
