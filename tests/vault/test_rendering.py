"""What templates and scripts of [auth] see of the client: its secret only where that may go."""

import jwt

from gateway.oauth.endpoint import ClientCredentials
from gateway.policy.context import Context
from gateway.policy.load import load
from gateway.secret import Secret
from gateway.vault.rendering import Own, prepare, render_login

SCRIPT = "{ js = \"return context.app.client_id + (context.app.client_secret || ' alone')\" }"
POLICY = f"""
name = "X"
[allow]
urls = ["example.com"]
[auth]
grant = "authorization_code"
client_id = "id"
client_secret = {{ secret = "s" }}
[auth.assertion]
algorithm = "HS256"
key = {{ secret = "key" }}
claims = {{ who = {SCRIPT} }}
[auth.authorize]
url = "https://example.com/login"
params = {{ who = {SCRIPT} }}
[auth.token]
url = "https://example.com/token"
client_auth = "jwt"
params = {{ who = {SCRIPT} }}
"""


def test_the_clients_secret_is_neither_in_a_login_url_nor_in_what_is_signed() -> None:
    """Both are read by others than the provider; no check can tell what a script names."""
    policy = load(POLICY, app="x", file="x.toml").policy
    assert policy is not None
    assert policy.auth.token is not None
    assert policy.auth.authorize is not None
    client = ClientCredentials(client_id="id", client_secret=Secret("+s3cret"))
    own = Own(client=client, key=Secret("k" * 32), certificate=None, now=1e9, random=bytes(32))
    prepared = prepare(policy, policy.auth.token, Context(), own)
    assert prepared.signed is not None
    claims = jwt.decode(prepared.signed.token.reveal(), options={"verify_signature": False})
    assert claims["who"] == "id alone"
    assert render_login(policy, policy.auth.authorize, Context(), own).params == {"who": "id alone"}
    assert prepared.endpoint.params == {"who": Secret("id+s3cret")}
