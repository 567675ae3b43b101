"""What an entry of grant's list says that the package's own entries don't: read, or said."""

import json
import tomllib
from typing import Any

from gateway.importing.grant import from_grant
from gateway.importing.outcome import Imported, Outcome

GOOD = {"oauth": 2, "authorize_url": "https://note.test/a", "access_url": "https://note.test/t"}


def of_grant(name: str = "note", **entry: Any) -> Imported:
    """Return what comes of one provider, a good one but for what is given."""
    (one,) = from_grant(json.dumps({name: {**GOOD, **entry}}))
    return one


def test_a_key_that_nothing_heeds_is_said() -> None:
    one = of_grant(nonce=True, format="form", brand_new=1)
    assert one.outcome is Outcome.PART
    assert list(map(str, one.lacks)) == [
        f"a key of the list that isn't heeded here ({key})" for key in ("nonce", "format", "brand_new")
    ]


def test_a_key_of_the_other_oauth_is_said() -> None:
    one = of_grant(oauth=1, request_url="https://note.test/r", pkce=True, scope_delimiter=" ")
    assert [lack.detail for lack in one.lacks] == ["pkce"]


def test_what_a_caller_may_add_to_the_login_is_noted() -> None:
    one = of_grant(custom_parameters=["prompt", "hd"])
    assert one.outcome is Outcome.WHOLE
    assert "A caller of grant's may add prompt, hd to the login: see [auth.authorize] params." in one.notes
    wrong = of_grant(custom_parameters={"prompt": "x"})
    assert list(map(str, wrong.lacks)) == ["parameters of the login that are no list of names"]


def test_how_the_client_says_who_it_is() -> None:
    basic = of_grant(token_endpoint_auth_method="client_secret_basic")
    assert tomllib.loads(basic.text or "")["auth"]["token"]["client_auth"] == "basic"
    assert of_grant(token_endpoint_auth_method="client_secret_post").outcome is Outcome.WHOLE
    other = of_grant(token_endpoint_auth_method="client_secret_jwt")
    assert list(map(str, other.lacks)) == ["a way of the client to say who it is that isn't known (client_secret_jwt)"]
