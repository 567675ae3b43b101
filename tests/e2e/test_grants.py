"""Each grant against django-oauth-toolkit: from the link over the provider's own pages to a living connection."""

import json
import re

import httpx
import pytest

from tests.e2e.harness.grants import come_back, waiting_for_a_link
from tests.e2e.harness.running import until
from tests.e2e.harness.visitor import query_of, secrets_in

GRANTS = ["authorization_code", "implicit", "password", "client_credentials"]
RENEWABLE = ["authorization_code", "password", "client_credentials"]


@pytest.fixture
def visitor(house):
    return house.visitor()


@pytest.mark.parametrize("grant", GRANTS)
def test_a_person_connects_and_a_program_calls(house, grant):
    """Login page, consent page, "Connected as …"; then a call carries the token and the policy's parameters."""
    app = house.app(grant)

    page = house.connect(app)

    label = "Orders" if grant == "client_credentials" else "John Doe"
    assert (page.status, page.heading) == (200, f"Connected as {label}")
    connection = house.connection(app)
    assert (connection["status"], connection["label"]) == ("active", label)
    assert re.match(r"(user|app)-\d+", connection["unique_id"])
    answer = house.call(
        connection["id"], "POST", "/v1/json?a=1", fields=[("Content-Type", "application/json")], body=b"{}"
    )
    assert answer.status == 200
    (request,) = house.upstream.wait_for(1)
    (token,) = house.provider.tokens(app.application)
    assert request.values("authorization") == [f"Bearer {token}".encode()]
    assert request.values("x-environment") == [b"production"]
    assert request.query == {"a": "1", "api_version": "2"}
    assert json.loads(request.body) == {"version": "v2"}


def whoami(house, token: str) -> int:
    """Return what the provider's own API answers to whoever brings this token."""
    return httpx.get(house.provider.me_url, headers={"Authorization": f"Bearer {token}"}, trust_env=False).status_code


@pytest.mark.parametrize("grant", RENEWABLE)
def test_a_token_revoked_behind_the_gateways_back_is_renewed_once(house, grant):
    """The caller sees 200; the provider counts one more token call; the connection is the same one, one token on."""
    app = house.app(grant)
    house.connect(app)
    before = house.connection(app)
    (old,) = house.provider.tokens(app.application)
    assert house.call(before["id"]).status == 200
    assert house.provider.revoke(app.application) == 1

    assert house.call(before["id"]).status == 200
    assert house.call(before["id"]).status == 200

    assert house.provider.calls(app.application) == 2  # one to connect, one for the 401
    (new,) = house.provider.tokens(app.application)
    sent = [request.values("authorization") for request in house.upstream.wait_for(4)]
    assert sent == [[f"Bearer {token}".encode()] for token in (old, old, new, new)]
    after = house.connection(app)
    assert (after["id"], after["token_version"]) == (before["id"], before["token_version"] + 1)


@pytest.mark.parametrize("grant", ["authorization_code", "password"])
def test_each_refresh_brings_a_new_refresh_token_and_the_old_one_is_worth_nothing(house, grant):
    """Three rotations in a row: the provider takes only the newest refresh token, so none of them was lost."""
    app = house.app(grant)
    house.connect(app)
    connection = house.connection(app)
    used = [house.provider.refresh_tokens(app.application)]

    for _ in range(3):
        answer = house.gateway.api("POST", f"/connections/{connection['id']}/refresh")
        assert answer.status == 200, answer.body
        used.append(house.provider.refresh_tokens(app.application))

    assert len({token for (token,) in used}) == 4
    form = {"grant_type": "refresh_token", "refresh_token": used[0][0]}
    auth = (app.application.client_id, app.application.client_secret)
    refused = httpx.post(house.provider.token_url, data=form, auth=auth, trust_env=False)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize("grant", GRANTS)
def test_disconnecting_revokes_the_token_at_the_provider(house, grant):
    """The provider itself opens its API to the token before, and refuses it after; callers are refused at once."""
    app = house.app(grant)
    house.connect(app)
    connection = house.connection(app)
    (token,) = house.provider.tokens(app.application)
    assert whoami(house, token) == 200

    assert house.gateway.api("DELETE", f"/connections/{connection['id']}").status == 204

    answer = house.call(connection["id"])
    assert (answer.status, answer.code) == (403, "connection_not_permitted")
    assert house.upstream.saw_nothing()
    until(lambda: whoami(house, token) == 401, within=5, what="the provider has taken the token back")
    assert house.connections(app)[0]["status"] == "disconnected"


def test_where_the_policy_names_the_refresh_token_that_one_is_revoked(house):
    """With a provider that ends both together, neither works afterwards."""
    app = house.app("authorization_code", revoked="refresh_token")
    house.connect(app)
    connection = house.connection(app)
    (access,) = house.provider.tokens(app.application)
    (refresh,) = house.provider.refresh_tokens(app.application)

    assert house.gateway.api("DELETE", f"/connections/{connection['id']}").status == 204

    until(lambda: whoami(house, access) == 401, within=5, what="the provider has taken both back")
    form = {"grant_type": "refresh_token", "refresh_token": refresh}
    auth = (app.application.client_id, app.application.client_secret)
    assert (
        httpx.post(house.provider.token_url, data=form, auth=auth, trust_env=False).json()["error"] == "invalid_grant"
    )


def test_an_implicit_token_that_ends_needs_the_person_and_the_link_keeps_the_id(house):
    """There is nothing to renew it with: the caller sees the service's 401, until the person has signed in again."""
    app = house.app("implicit")
    person = house.person()
    house.connect(app, person)
    connection = house.connection(app)
    house.provider.revoke(app.application)
    answer = house.call(connection["id"])
    assert (answer.status, answer.code) == (401, None)

    page = house.connect(app, person, by=house.visitor(), id=connection["id"])

    assert page.heading == "Connected as John Doe"
    assert [one["id"] for one in house.connections(app)] == [connection["id"]]
    assert house.call(connection["id"]).status == 200


@pytest.mark.parametrize(("pkce", "client_auth"), [("S256", "body"), ("plain", "basic")])
def test_the_provider_checks_the_verifier_and_the_client_however_the_policy_says(house, pkce, client_auth, visitor):
    """The provider insists on PKCE and on its client's secret; the challenge is what the policy says it is."""
    app = house.app("authorization_code", pkce=pkce, client_auth=client_auth)
    person = house.person("Mary Major")

    login = visitor.leave(house.link(app))

    asked = query_of(login)
    assert asked["code_challenge_method"] == pkce
    assert len(asked["code_challenge"]) == (43 if pkce == "S256" else 64)
    assert (asked["response_type"], asked["scope"]) == ("code", "read write")
    assert asked["redirect_uri"] == app.callback
    assert visitor.allow(visitor.sign_in(login, person)).heading == "Connected as Mary Major"


@pytest.mark.parametrize("grant", GRANTS)
def test_the_same_account_again_updates_its_connection(house, grant):
    """Whoever connects the same account, in another browser and by another link, finds the connection that is there."""
    app = house.app(grant)
    person = house.person()
    house.connect(app, person)
    first = house.connection(app)

    page = house.connect(app, person, by=house.visitor())

    assert page.heading.startswith("Connected as ")
    assert "was connected already" in page.text
    assert first["id"] in page.text
    again = house.connection(app)
    assert (again["id"], again["created_at"]) == (first["id"], first["created_at"])


def test_another_account_of_the_same_app_is_another_connection(house):
    app = house.app("authorization_code")
    for name in ("John Doe", "Mary Major"):
        house.connect(app, house.person(name), by=house.visitor())
    assert sorted(one["label"] for one in house.connections(app)) == ["John Doe", "Mary Major"]


def test_without_a_unique_identifier_each_connect_is_a_connection_of_its_own(house):
    """The policy may leave it blank."""
    app = house.app("password", replacing={'unique_id = "{{ authData.testcode.id }}"': ""})
    person = house.person()
    for _ in range(2):
        assert house.connect(app, person).heading == "Connected as John Doe"
    assert [one["unique_id"] for one in house.connections(app)] == [None, None]


def test_a_test_call_may_be_a_post_with_dummy_values(house):
    """For a service without a GET that needs no input; without the value it wants, nothing is connected."""
    url = f'[test]\nurl = "{house.provider.me_url}"\nmethod = "POST"\n'
    old = f'[test]\nurl = "{house.provider.me_url}"\n'
    right = house.app("password", replacing={old: url + 'body = { website = "https://example.com/" }\n'})
    wrong = house.app("password", replacing={old: url + 'body = { site = "https://example.com/" }\n'})

    assert house.connect(right).heading == "Connected as John Doe"
    assert house.call(house.connection(right)["id"]).status == 200
    assert "422" in house.connect(wrong).text
    assert house.connections(wrong) == []


def test_a_refresh_that_the_provider_refuses_for_good_needs_the_person_again_under_the_same_id(house, visitor):
    """`invalid_grant` ends it; a link for this connection brings it back, for the same callers."""
    app = house.app("authorization_code")
    person = house.person()
    house.connect(app, person, by=visitor)
    connection = house.connection(app)
    house.provider.ask("forget_refresh_tokens", client_id=app.application.client_id)
    house.provider.revoke(app.application)
    answer = house.call(connection["id"])
    assert (answer.status, answer.code) == (502, "reauthorization_required")
    assert house.connections(app)[0]["status"] == "needs_reauthorization"

    where = house.link(app, id=connection["id"])
    assert "Reconnect Orders" in visitor.get(where).heading
    login = visitor.leave(where)
    page = visitor.allow(visitor.get(login))  # the provider still knows this browser, and asks for consent alone

    assert page.heading == "Connected as John Doe"
    after = house.connection(app)
    assert (after["id"], after["status"]) == (connection["id"], "active")
    assert house.call(connection["id"]).status == 200


@pytest.mark.parametrize("grant", ["authorization_code", "implicit"])
def test_a_person_who_says_no_reads_the_providers_words_and_may_try_again(house, grant, visitor):
    """The answer of the consent page's Cancel button, in the query or in the fragment; then the same link again."""
    app = house.app(grant)
    person = house.person()
    where = house.link(app)
    consent = visitor.sign_in(visitor.leave(where), person)

    page = come_back(visitor, visitor.submit(consent, follow=False))

    assert page.url == where
    assert "Orders was not connected." in page.text
    assert "access_denied" in page.text
    assert "Try again at Orders" in page.text
    assert house.connections(app) == []
    consent = visitor.get(visitor.submit(page).links["continue"])
    assert come_back(visitor, visitor.allow(consent, follow=False)).heading == "Connected as John Doe"


@pytest.mark.parametrize(("grant", "wrong"), [("password", "password"), ("client_credentials", "client_secret")])
def test_wrong_credentials_are_told_and_what_was_typed_is_kept(house, grant, wrong, visitor):
    """All but the secret; and with the right one the same page connects."""
    app = house.app(grant)
    given = house.what_to_fill_in(app, house.person())

    page = visitor.submit(visitor.get(house.link(app)), **given | {wrong: "not-the-right-one"})

    assert page.status == 502
    assert "Orders gave no token" in page.text
    (kept,) = given.keys() - {wrong}
    assert page.forms[-1].values[f"field.{kept}"] == given[kept]
    assert page.forms[-1].values[f"field.{wrong}"] == ""
    assert "not-the-right-one" not in page.text
    assert house.connections(app) == []
    assert visitor.submit(page, **given).heading.startswith("Connected as ")


@pytest.mark.parametrize("grant", GRANTS)
def test_a_field_reaches_the_service_and_a_wrong_choice_does_not(house, grant, visitor):
    """The extra field of every app is optional, checked on the server, and sent with each request."""
    app = house.app(grant)
    person = house.person()
    given = house.what_to_fill_in(app, person)

    refused = visitor.submit(visitor.get(house.link(app)), environment="moon", **given)

    assert refused.status == 422
    assert "Environment must be one of" in refused.text
    assert house.connections(app) == []
    page = visitor.submit(refused, environment="sandbox", **given)
    if app.by_login:
        page = come_back(visitor, visitor.allow(visitor.sign_in(page.links["continue"], person), follow=False))
    assert page.heading.startswith("Connected as ")
    assert house.call(house.connection(app)["id"]).status == 200
    assert house.upstream.only().values("x-environment") == [b"sandbox"]


def test_gateway_connect_waits_and_ends_when_the_person_is_through(house, visitor):
    """The link on standard output, and after the person's last page one line that says who is connected."""
    app = house.app("authorization_code")
    person = house.person()
    with waiting_for_a_link(house.gateway, app) as (waiting, where):
        assert waiting.poll() is None
        assert visitor.connect(where, person).heading == "Connected as John Doe"
        _, said = waiting.communicate(timeout=20)
    assert waiting.returncode == 0
    connection = house.connection(app)
    assert f"Connected: {connection['id']} (John Doe)." in said


def test_a_person_types_a_code_in_elsewhere_and_the_page_that_showed_it_is_connected(house, visitor):
    """RFC 8628: another browser is at the provider's; then a call, a renewal, and who says no reads that it was so."""
    app = house.app("device_code")
    person = house.person()
    page = visitor.submit(visitor.get(house.link(app)))
    assert page.headers["Refresh"] == "1"
    assert house.type_in(visitor, page, person).heading == "Connected as John Doe"
    connection = house.connection(app)["id"]
    assert house.call(connection).status == 200
    house.provider.revoke(app.application)
    assert house.call(connection).status == 200, "renewed with the refresh token"

    page = visitor.submit(visitor.get(house.link(app, id=connection)))
    assert (
        "Whoever looked at the code at Orders refused it." in house.type_in(visitor, page, person, action="deny").text
    )
    assert house.connection(app)["status"] == "active"


def test_gateway_connect_prints_a_code_and_waits_until_somebody_has_typed_it_in(house, visitor):
    """The address and the code on standard output; at the end who is connected, and no secret of it anywhere."""
    app = house.app("device_code")
    with waiting_for_a_link(house.gateway, app) as (waiting, address):
        code = waiting.stdout.readline().strip()
        assert waiting.poll() is None
        visitor.type_in(code, address, house.person())
        out, said = waiting.communicate(timeout=20)
    assert waiting.returncode == 0, said
    connection = house.connection(app)
    assert f"Connected: {connection['id']} (John Doe)." in said
    assert [token for token in house.provider.tokens(app.application) if token in out + said] == []
    assert house.call(connection["id"]).status == 200


def test_the_redirect_url_to_register_is_shown_to_the_letter(house):
    """By the API: the provider compares it byte for byte (RFC 6749 §3.1.2.3)."""
    app, machine = house.app("authorization_code"), house.app("client_credentials")
    assert house.gateway.api("GET", f"/apps/{app.name}").json()["redirect_url"] == app.callback
    assert query_of(house.visitor().leave(house.link(app)))["redirect_uri"] == app.callback
    assert house.gateway.api("GET", f"/apps/{machine.name}").json()["redirect_url"] is None


def test_a_redirect_url_that_is_not_registered_fails_at_the_provider(house, visitor):
    """It must match exactly: here another app's, and nobody is ever sent to it."""
    app, other = house.app("authorization_code"), house.app("authorization_code")
    login = visitor.leave(house.link(app))
    client_id, their_id = app.application.client_id, other.application.client_id
    page = visitor.sign_in_only(login.replace(client_id, their_id), house.person())
    assert page.status == 400
    assert "redirect" in page.text.lower()


def test_no_code_and_no_state_stays_in_the_address(house, visitor):
    """Each answer to the provider's redirect is another redirect, to the link's own clean address."""
    app = house.app("authorization_code")
    where = house.link(app)
    consent = visitor.sign_in(visitor.leave(where), house.person())
    answered = visitor.allow(consent, follow=False).headers["Location"]
    assert answered.startswith(app.callback + "?")
    arrived = visitor.get(answered, follow=False)
    assert (arrived.status, where.endswith(arrived.headers["Location"])) == (303, True)
    assert arrived.headers["Referrer-Policy"] == "no-referrer"
    assert arrived.headers["Cache-Control"] == "no-store"
    assert secrets_in([where]) == set()
    assert len(secrets_in([answered])) == 2
