"""A client's certificate (RFC 8705) in a connection: where it is kept, and what it goes along with."""

import json

import trustme

from gateway.oauth.message import OutgoingRequest
from gateway.secret import Secret
from tests.vault.harness import House, as_json

POLICY = """
name = "Bank"
base_url = "https://api.test/v1"
[allow]
urls = ["https://api.test/v1"]
[[fields]]
name = "identity"
secret = true
[auth]
grant = "client_credentials"
client_id = "app-1"
certificate = { field = "identity" }
[auth.token]
url = "https://id.test/token"
client_auth = "tls"
[test]
url = "/me"
[inject.headers]
Authorization = "Bearer {{ access_token }}"
"""


async def test_a_connection_s_own_certificate_goes_along_with_its_calls_and_lies_sealed(
    house: House,
) -> None:
    """The token request names the client by its id alone; the certificate is kept as other secrets are."""
    certificate = Secret(trustme.CA().issue_cert("app-1").private_key_and_cert_chain_pem.bytes().decode())
    house.policies.put("bank", POLICY)
    sent: list[OutgoingRequest] = []

    class Seen:
        async def send(self, request: OutgoingRequest, **_limits: object) -> object:
            sent.append(request)
            return as_json(200, access_token="at-1-secret", expires_in=3600, id="u1")

    async with house.vault(egress=Seen()) as vault:
        await vault.connect("bank", connection_id="b", secrets={"identity": certificate}, actor="ann")
        live = await vault.live("b")
    token, me = sent
    assert b"client_id=app-1" in token.body
    assert b"client_secret" not in token.body
    assert (token.certificate, me.certificate) == (certificate, certificate)
    assert live is not None
    assert live.certificate == certificate
    key = certificate.reveal().splitlines()[1].encode()
    assert key not in house.path.read_bytes()
    assert key.decode() not in json.dumps([repr(one) for one in sent])
