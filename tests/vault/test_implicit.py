"""An implicit grant whose provider adds a refresh token, as some do although RFC 6749 §4.2.2 has none."""

from gateway.vault import Vault
from tests.vault.harness import CLIENT_CREDENTIALS, House, authorization

IMPLICIT = (
    CLIENT_CREDENTIALS[: CLIENT_CREDENTIALS.index("[[fields]]")]
    + """
[auth]
grant = "implicit"
client_id = "app-1"
client_secret = { env = "APP_SECRET" }
[auth.authorize]
url = "https://id.test/authorize"
[auth.refresh]
url = "https://id.test/token"
[inject.headers]
Authorization = "Bearer {{ access_token }}"
"""
)


async def test_it_is_renewed_at_the_refresh_url_that_the_policy_names(house: House, vault: Vault) -> None:
    house.policies.put("board", IMPLICIT)
    house.provider.number = 1
    fragment = {"access_token": "at-1-secret", "refresh_token": "rt-1-secret", "expires_in": "600"}
    answer = vault.logins.read_fragment(house.policies["board"], fragment)
    done = await vault.connect("board", fields={}, secrets={}, actor="ann", answer=answer)
    live = await vault.live(done.row.id)
    assert live is not None
    house.clock.now += 600

    live = await vault.fresh(live)

    assert authorization(live) == "Bearer at-2-secret"
    assert [call["refresh_token"] for call in house.provider.token_calls] == ["rt-1-secret"]
