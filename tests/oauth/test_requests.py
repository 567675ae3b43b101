"""What goes to a token endpoint, as the bytes on the wire."""

import base64
from urllib.parse import parse_qs

import pytest

from gateway.oauth.authorize import (
    AuthorizationEndpoint,
    CallbackRefused,
    CodeReceived,
    as_standard,
    authorization_url,
    code_challenge,
    expected_issuer,
    read_callback,
)
from gateway.oauth.endpoint import ClientCredentials, Endpoint
from gateway.oauth.grants import (
    client_credentials_request,
    code_request,
    join_scopes,
    jwt_bearer_request,
    own_request,
    password_request,
    refresh_request,
    revocation_request,
)
from gateway.secret import Secret

URL = "https://service.test/oauth/token"
CLIENT = ClientCredentials(client_id="app 1", client_secret=Secret("s:e/c+r t"))


def test_basic_authentication_form_encodes_both_parts_before_base64() -> None:
    """RFC 6749 §2.3.1, which most clients get wrong for secrets with a colon, a plus or a space."""
    request = client_credentials_request(Endpoint(url=URL), CLIENT)
    assert dict(request.headers)["Authorization"] == "Basic " + base64.b64encode(b"app+1:s%3Ae%2Fc%2Br+t").decode()
    assert request.body == b"grant_type=client_credentials"


def test_body_authentication_sends_both_as_parameters() -> None:
    request = client_credentials_request(Endpoint(url=URL, client_auth="body"), CLIENT)
    assert "Authorization" not in dict(request.headers)
    assert request.body == b"grant_type=client_credentials&client_id=app+1&client_secret=s%3Ae%2Fc%2Br+t"


@pytest.mark.parametrize("auth", ["none", "basic", "body"])
def test_a_public_client_names_itself_and_sends_no_secret(auth: str) -> None:
    client = ClientCredentials(client_id="pub")
    request = refresh_request(Endpoint(url=URL, client_auth=auth), client, token=Secret("rt"))
    assert request.body == b"grant_type=refresh_token&refresh_token=rt&client_id=pub"


def test_a_json_endpoint_gets_a_json_object() -> None:
    request = refresh_request(Endpoint(url=URL, format="json"), CLIENT, token=Secret("rté"))
    assert request.body == '{"grant_type":"refresh_token","refresh_token":"rté"}'.encode()
    assert dict(request.headers)["Content-Type"] == "application/json"


def test_the_policys_params_win_and_false_takes_a_standard_one_out() -> None:
    endpoint = Endpoint(url=URL, params={"audience": "https://api.test", "grant_type": False, "otp": Secret("123456")})
    request = password_request(endpoint, None, username="ann", password=Secret("p&w"), scope="a b")
    assert request.body == b"username=ann&password=p%26w&scope=a+b&audience=https%3A%2F%2Fapi.test&otp=123456"


def test_the_policys_header_replaces_ours_whatever_its_case() -> None:
    request = client_credentials_request(Endpoint(url=URL, headers={"accept": "application/vnd.x+json"}), CLIENT)
    assert [value for name, value in request.headers if name.lower() == "accept"] == ["application/vnd.x+json"]


def test_a_code_is_exchanged_with_its_verifier_and_redirect_uri() -> None:
    request = code_request(
        Endpoint(url=URL), CLIENT, code=Secret("c0de"), redirect_uri="https://gw.test/cb", verifier=Secret("v" * 43)
    )
    assert parse_qs(request.body.decode()) == {
        "grant_type": ["authorization_code"],
        "code": ["c0de"],
        "redirect_uri": ["https://gw.test/cb"],
        "code_verifier": ["v" * 43],
    }


def test_a_standard_parameter_goes_by_the_providers_name_for_it() -> None:
    names = {"client_id": "client_key", "client_secret": "key_secret", "refresh_token": "renewer"}
    endpoint = Endpoint(url=URL, client_auth="body", names=names, params={"grant_type": False, "renewer2": "x"})
    request = refresh_request(endpoint, CLIENT, token=Secret("rt"))
    assert request.body == b"renewer=rt&client_key=app+1&key_secret=s%3Ae%2Fc%2Br+t&renewer2=x"
    assert Secret("rt") in request.secrets
    assert CLIENT.client_secret in request.secrets


@pytest.mark.parametrize(
    ("method", "url", "sent"),
    [
        ("GET", URL, f"{URL}?grant_type=client_credentials"),
        ("POST", f"{URL}?v=1", f"{URL}?v=1&grant_type=client_credentials"),
    ],
)
def test_parameters_may_go_into_the_url_and_nothing_into_the_body(method, url, sent) -> None:
    request = client_credentials_request(Endpoint(url=url, method=method, format="query"), CLIENT)
    assert (request.method, request.url, request.body) == (method, sent, b"")
    assert ("Content-Type" in dict(request.headers)) is (method == "POST")
    assert "grant_type" not in repr(request)


def test_json_may_be_nested() -> None:
    params = {"auth": {"methods": ["password"], "n": 1, "on": False}, "grant_type": False}
    endpoint = Endpoint(url=URL, format="json", method="PUT", params=params, secrets=(Secret("inside"),))
    request = own_request(endpoint)
    assert (request.method, request.body) == ("PUT", b'{"auth":{"methods":["password"],"n":1,"on":false}}')
    assert request.secrets == (Secret("inside"),)


def test_a_client_shows_who_it_is_by_what_it_has_signed() -> None:
    client = ClientCredentials(client_id="app", client_secret=Secret("unused"), assertion=Secret("a.b.c"))
    request = client_credentials_request(Endpoint(url=URL, client_auth="jwt"), client)
    assert parse_qs(request.body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["app"],
        "client_assertion_type": ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"],
        "client_assertion": ["a.b.c"],
    }
    assert Secret("a.b.c") in request.secrets


def test_a_signed_statement_is_a_grant() -> None:
    request = jwt_bearer_request(Endpoint(url=URL), None, assertion=Secret("a.b.c"))
    assert request.body == b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=a.b.c"


def test_a_token_may_be_renewed_with_itself() -> None:
    endpoint = Endpoint(url=URL, client_auth="none", names={"access_token": "fb_exchange_token"})
    request = refresh_request(endpoint, None, token=Secret("at"), kind="access_token")
    assert request.body == b"grant_type=refresh_token&fb_exchange_token=at"


def test_a_revocation_names_the_kind_of_token() -> None:
    request = revocation_request(Endpoint(url=URL), CLIENT, token=Secret("tok"), hint="refresh_token")
    assert request.body == b"token=tok&token_type_hint=refresh_token"


def test_a_request_never_shows_its_content_and_names_its_secrets() -> None:
    request = refresh_request(Endpoint(url=URL + "?key=1", client_auth="body"), CLIENT, token=Secret("rt-1"))
    shown = repr(request)
    assert "rt-1" not in shown
    assert "s:e/c+r t" not in shown
    assert "key=1" not in shown
    assert set(request.secrets) == {Secret("rt-1"), CLIENT.client_secret}


def test_no_scopes_means_no_parameter() -> None:
    assert join_scopes([]) is None
    assert join_scopes(["a", "b"], ",") == "a,b"


def test_the_challenge_is_the_one_of_rfc_7636_appendix_b() -> None:
    verifier = Secret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
    assert code_challenge(verifier, "S256") == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    assert code_challenge(verifier, "plain") == verifier.reveal()


def login(**changes: object) -> dict[str, list[str]]:
    endpoint = AuthorizationEndpoint(**{"url": "https://id.test/authorize?tenant=1", **changes})
    url = authorization_url(
        endpoint, client_id="cid", redirect_uri="https://gw.test/cb", state=Secret("st"), verifier=Secret("v" * 43)
    )
    return parse_qs(url.partition("?")[2])


def test_the_login_url_keeps_its_own_query_and_carries_state_scopes_and_challenge() -> None:
    query = login(scopes=["read", "write"], scope_separator=",", params={"access_type": "offline"})
    assert query["tenant"] == ["1"]
    assert query["response_type"] == ["code"]
    assert query["scope"] == ["read,write"]
    assert query["state"] == ["st"]
    assert query["code_challenge_method"] == ["S256"]
    assert query["access_type"] == ["offline"]


def test_pkce_off_and_the_implicit_grant_send_no_challenge() -> None:
    assert "code_challenge" not in login(pkce="off")
    assert "code_challenge" not in login(response_type="token")


def test_no_policy_can_take_the_state_out_or_fix_it() -> None:
    assert login(params={"state": "fixed"})["state"] == ["st"]
    assert login(params={"state": False})["state"] == ["st"]


def test_the_login_url_has_the_providers_names_and_no_policy_can_fix_a_state_by_its_other_name() -> None:
    names = {"client_id": "app", "redirect_uri": "back", "state": "csrf"}
    query = login(names=names, params={"csrf": "fixed", "state": "fixed", "response_type": False})
    assert query == {
        "tenant": ["1"],
        "app": ["cid"],
        "back": ["https://gw.test/cb"],
        "csrf": ["st"],
        "code_challenge": [code_challenge(Secret("v" * 43), "S256")],
        "code_challenge_method": ["S256"],
    }


def test_behind_a_route_of_the_page_stand_all_parameters() -> None:
    endpoint = AuthorizationEndpoint(url="https://id.test/app?x=1", fragment="/oauth", pkce="off", scopes=["a", "b"])
    url = authorization_url(
        endpoint, client_id="cid", redirect_uri="https://gw.test/cb", state=Secret("st"), verifier=Secret("v" * 43)
    )
    assert url == (
        "https://id.test/app?x=1#/oauth?response_type=code&client_id=cid"
        "&redirect_uri=https%3A%2F%2Fgw.test%2Fcb&scope=a+b&state=st"
    )


def test_what_a_callback_says_has_standard_names_and_a_standard_name_that_is_not_its_own_is_dropped() -> None:
    pairs = [("auth_code", "c"), ("code", "not the code"), ("state", "s"), ("shop", "x"), ("auth_code", "d")]
    assert list(as_standard(pairs, {"code": "auth_code"})) == [
        ("code", "c"),
        ("state", "s"),
        ("shop", "x"),
        ("code", "d"),
    ]
    assert list(as_standard(pairs, {})) == pairs


def test_a_callback_brings_a_code() -> None:
    assert read_callback({"code": "abc", "iss": "https://id.test"}, issuer="https://id.test") == CodeReceived(
        code=Secret("abc")
    )


LOGIN_URL = "https://id.test:8443/login?tenant=1"


@pytest.mark.parametrize(
    ("issuer", "sent", "expected"),
    [
        ("https://other.test", "https://other.test", "https://other.test"),
        ("https://other.test", "https://id.test:8443", "https://other.test"),
        (None, None, "https://id.test:8443"),
        (None, "https://id.test:8443", "https://id.test:8443"),
        (None, "https://ID.test:8443/realms/one", "https://ID.test:8443/realms/one"),
        (None, "https://id.test", "https://id.test:8443"),
        (None, "http://id.test:8443", "https://id.test:8443"),
        (None, "https://id.test.evil.test:8443", "https://id.test:8443"),
        (None, "https://id.test:8443@evil.test", "https://id.test:8443"),
        (None, "", "https://id.test:8443"),
    ],
)
def test_an_unknown_issuer_is_one_at_the_login_urls_origin(issuer, sent, expected) -> None:
    assert expected_issuer(issuer, login_url=LOGIN_URL, sent=sent) == expected


def test_a_callback_of_another_issuer_is_refused() -> None:
    answer = read_callback({"code": "abc", "iss": "https://evil.test"}, issuer="https://id.test")
    assert isinstance(answer, CallbackRefused)
    assert answer.error == "wrong_issuer"


def test_a_callbacks_error_is_shown_in_the_providers_words_without_control_characters() -> None:
    answer = read_callback({"error": "access_denied", "error_description": "You said\r\nno\x07."})
    assert answer == CallbackRefused(error="access_denied", detail="You said no .")


def test_a_callback_without_code_or_error_is_refused() -> None:
    assert isinstance(read_callback({}), CallbackRefused)
    assert isinstance(read_callback({"code": "a\r\nb"}), CallbackRefused)
