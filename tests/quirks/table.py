"""The quirks: what each policy says, what its provider wants to be asked, to the letter, and what it answers."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.quirks.provider import NOW, Anew, Signed, Wants

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
HMAC = bytes(range(32))
SECRET = "app-s3cret"
BASIC = "Basic " + base64.b64encode(f"app-1:{SECRET}".encode()).decode()
CODE = "c0de-s3cret"
CALLBACK = "https://gateway.test/oauth/callback/quirk"
BY_JWT = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
FRAME = """
name = "Quirky"
base_url = "URL/v1"
[allow]
urls = ["URL/v1"]
[test]
url = "/me"
[connection]
unique_id = "{{ test.id }}"
[inject.headers]
Authorization = "Bearer {{ access_token }}"
"""


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    """A private key as a person pastes it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


@dataclass(frozen=True, kw_only=True)
class Quirk:
    """A behaviour. `policy` is all but the frame; `given` are the fields; `login` is what the login URL must ask for.

    `first` is asked on connecting, `then` when the token is renewed, `last` when the connection is ended. The tokens of
    the first two come out as `tokens`; None: one that is signed here. `lives` is for how many seconds they are taken.
    """

    policy: str
    given: Mapping[str, str] = field(default_factory=dict)
    login: Mapping[str, object] | None = None
    first: Sequence[Wants] = ()
    then: Sequence[Wants] = ()
    last: Sequence[Wants] = ()
    tokens: tuple[object, object] = ("Bearer one-s3cret", "Bearer two-s3cret")
    lives: float | None = 3600


OF_OURS = Signed(HMAC, "HS256", before="Bearer ", kid="k7", aud="/admin/", held=300)
CLIENT = """
[auth]
grant = "{grant}"
client_id = "app-1"
client_secret = {{ env = "APP_SECRET" }}
""".format
ASKED = {"grant_type": "client_credentials"}
ONE = {"access_token": "one-s3cret", "expires_in": 3600}
TWO = {"access_token": "two-s3cret", "expires_in": 3600}
STANDARD_LOGIN = {"response_type": "code", "client_id": "app-1", "redirect_uri": CALLBACK}
KEYED = """
[[fields]]
name = "key"
secret = true
[auth]
grant = "{grant}"
{more}
""".format


def expires(written: str, path: str, answer: Mapping[str, object]) -> Quirk:
    """An answer that writes its end in another way, in another place."""
    policy = CLIENT(grant="client_credentials") + (
        f'[auth.token]\nurl = "URL/token"\nexpires = "{written}"\nresponse = {{ expires_in = "{path}" }}\n'
    )
    asked = {"headers": {"Authorization": BASIC}, "body": ASKED}
    return Quirk(
        policy=policy,
        first=[Wants(**asked, answer={"access_token": "one-s3cret", **answer})],
        then=[Wants(**asked, answer={"access_token": "two-s3cret", **answer})],
    )


QUIRKS: dict[str, Quirk] = {
    "parameters by other names": Quirk(
        policy=CLIENT(grant="authorization_code")
        + """
[auth.authorize]
url = "URL/login"
scopes = ["a", "b"]
scope_separator = ","
pkce = "off"
names = { client_id = "client_key", redirect_uri = "redirect_url" }
[auth.token]
url = "URL/token"
client_auth = "body"
names = { client_id = "client_key", client_secret = "secret_key", code = "auth_code", refresh_token = "renewer" }
params = { redirect_uri = false }
[auth.revoke]
url = "URL/revoke"
method = "DELETE"
format = "query"
token = "refresh_token"
client_auth = "none"
names = { token = "renewer", client_id = "client_key" }
params = { token_type_hint = false }
""",
        login={"response_type": "code", "client_key": "app-1", "redirect_url": CALLBACK, "scope": "a,b"},
        first=[
            Wants(
                body={
                    "grant_type": "authorization_code",
                    "auth_code": CODE,
                    "client_key": "app-1",
                    "secret_key": SECRET,
                },
                answer=ONE | {"refresh_token": "rt-1-s3cret"},
            )
        ],
        then=[
            Wants(
                body={
                    "grant_type": "refresh_token",
                    "renewer": "rt-1-s3cret",
                    "client_key": "app-1",
                    "secret_key": SECRET,
                },
                answer=TWO | {"refresh_token": "rt-2-s3cret"},
            )
        ],
        last=[
            Wants(method="DELETE", path="/revoke", query={"renewer": "rt-2-s3cret", "client_key": "app-1"}, answer={})
        ],
    ),
    "parameters in the URL, a standard one left out, a nonce": Quirk(
        policy=CLIENT(grant="authorization_code")
        + """
[auth.authorize]
url = "URL/login?tenant=1"
scopes = ["a", "b"]
scope_separator = "+"
pkce = "off"
params = { nonce = "{{ request.random }}", response_type = false }
[auth.token]
url = "URL/token?v=2"
method = "GET"
format = "query"
client_auth = "body"
params = { grant_type = false }
[auth.refresh]
params = { grant_type = "renew", at = "{{ request.time_ms }}" }
""",
        login={"tenant": "1", "client_id": "app-1", "redirect_uri": CALLBACK, "scope": "a+b", "nonce": Anew()},
        first=[
            Wants(
                method="GET",
                query={
                    "v": "2",
                    "code": CODE,
                    "redirect_uri": CALLBACK,
                    "client_id": "app-1",
                    "client_secret": SECRET,
                },
                answer=ONE | {"refresh_token": "rt-s3cret"},
            )
        ],
        then=[
            Wants(
                method="GET",
                query={
                    "v": "2",
                    "grant_type": "renew",
                    "refresh_token": "rt-s3cret",
                    "client_id": "app-1",
                    "client_secret": SECRET,
                    "at": Anew(),
                },
                answer=TWO,
            )
        ],
    ),
    "nested JSON by PUT": Quirk(
        policy="""
[[fields]]
name = "username"
[[fields]]
name = "password"
secret = true
[auth]
grant = "password"
[auth.token]
url = "URL/token"
method = "PUT"
format = "json"
names = { username = "user" }
params = { password = false, auth = { methods = ["password"], secret = { value = "{{ password }}" }, n = 1 } }
""",
        given={"username": "ann", "password": "ann-s3cret"},
        first=[
            Wants(
                method="PUT",
                json=True,
                body={
                    "grant_type": "password",
                    "user": "ann",
                    "auth": {"methods": ["password"], "secret": {"value": "ann-s3cret"}, "n": 1},
                },
                answer=ONE,
            )
        ],
        then=[
            Wants(
                method="PUT",
                json=True,
                body={
                    "grant_type": "password",
                    "user": "ann",
                    "auth": {"methods": ["password"], "secret": {"value": "ann-s3cret"}, "n": 1},
                },
                answer=TWO,
            )
        ],
    ),
    "an end as a time": expires("at", "data.until", {"data": {"until": str(int(NOW) + 3600)}}),
    "an end as a time in milliseconds": expires("at_milliseconds", "until", {"until": NOW * 1000 + 3_600_000}),
    "milliseconds": expires("milliseconds", "ttl", {"ttl": 3_600_000}),
    "an end as a date": expires("date", "until", {"until": "2023-11-15T00:13:20.25+01:00"}),
    "an end as a duration": expires("duration", "for", {"for": "PT1H"}),
    "a short token for a long one, which renews itself": Quirk(
        policy=CLIENT(grant="authorization_code")
        + """
[auth.authorize]
url = "URL/login"
pkce = "off"
[auth.token]
url = "URL/token"
client_auth = "body"
[auth.exchange]
url = "URL/long"
method = "GET"
format = "query"
params = { grant_type = "ig_exchange", client_secret = "{{ app.client_secret }}", access_token = "{{ access_token }}" }
[auth.refresh]
url = "URL/renew"
token = "access_token"
method = "GET"
format = "query"
client_auth = "none"
params = { grant_type = "ig_refresh", client_id = false }
""",
        login=STANDARD_LOGIN,
        first=[
            Wants(
                body={
                    "grant_type": "authorization_code",
                    "code": CODE,
                    "redirect_uri": CALLBACK,
                    "client_id": "app-1",
                    "client_secret": SECRET,
                },
                answer={"access_token": "short-s3cret", "user_id": 7, "expires_in": 60},
            ),
            Wants(
                method="GET",
                path="/long",
                query={"grant_type": "ig_exchange", "client_secret": SECRET, "access_token": "short-s3cret"},
                answer=ONE,
            ),
        ],
        then=[
            Wants(
                method="GET",
                path="/renew",
                query={"grant_type": "ig_refresh", "access_token": "one-s3cret"},
                answer=TWO,
            )
        ],
    ),
    "a renewal without a new token": Quirk(
        policy="""
[[fields]]
name = "pin"
secret = true
[auth]
grant = "custom"
[auth.token]
url = "URL/session"
format = "json"
params = { login = { pin = "{{ pin }}" } }
default_ttl = "1h"
response = { access_token = "session.id" }
[auth.refresh]
url = "URL/session"
method = "PUT"
token = "access_token"
extends = true
params = { keep = "alive" }
headers = { X-Session = "{{ access_token }}" }
""",
        given={"pin": "pin-s3cret"},
        first=[
            Wants(
                path="/session",
                json=True,
                body={"login": {"pin": "pin-s3cret"}},
                answer={"session": {"id": "one-s3cret"}},
            )
        ],
        then=[
            Wants(
                method="PUT",
                path="/session",
                json=True,
                body={"keep": "alive"},
                headers={"X-Session": "one-s3cret"},
                status=204,
            )
        ],
        tokens=("Bearer one-s3cret", "Bearer one-s3cret"),
    ),
    "a login of its own, asked anew": Quirk(
        policy="""
[[fields]]
name = "account"
[[fields]]
name = "pin"
secret = true
[[fields]]
name = "otp"
once = true
required = false
[auth]
grant = "custom"
client_id = "app-1"
client_secret = { env = "APP_SECRET" }
[auth.token]
url = "URL/accounts/{{ account }}/login"
params = { pin = "{{ pin }}", otp = "{{ otp }}" }
headers = { X-App = "{{ app.client_id }}:{{ app.client_secret }}", X-Request = "{{ request.uuid }}" }
response = { access_token = "token" }
default_ttl = "1h"
""",
        given={"account": "a 1", "pin": "pin-s3cret", "otp": "otp-s3cret"},
        first=[
            Wants(
                path="/accounts/a 1/login",
                body={"pin": "pin-s3cret", "otp": "otp-s3cret"},
                headers={"X-App": f"app-1:{SECRET}", "X-Request": Anew(), "Authorization": None},
                answer={"token": "one-s3cret"},
            )
        ],
        then=[
            Wants(
                path="/accounts/a 1/login",
                body={"pin": "pin-s3cret"},
                headers={"X-App": f"app-1:{SECRET}", "X-Request": Anew(), "Authorization": None},
                answer={"token": "two-s3cret"},
            )
        ],
    ),
    "a login of its own, renewed in its own way": Quirk(
        policy="""
[[fields]]
name = "pin"
secret = true
[auth]
grant = "custom"
[auth.token]
url = "URL/login"
params = { pin = "{{ pin }}" }
response = { access_token = "jwt", refresh_token = "renewal.token" }
[auth.refresh]
url = "URL/renew"
params = { token = "{{ refresh_token }}" }
[auth.revoke]
url = "URL/logout"
client_auth = "none"
params = { token = false, token_type_hint = false, renewal = "{{ refresh_token }}" }
""",
        given={"pin": "pin-s3cret"},
        first=[
            Wants(
                path="/login",
                body={"pin": "pin-s3cret"},
                answer={"jwt": "one-s3cret", "renewal": {"token": "rt-s3cret"}, "expires_in": 3600},
            )
        ],
        then=[
            Wants(path="/renew", body={"token": "rt-s3cret"}, answer={"jwt": "two-s3cret", "expires_in": 3600}),
        ],
        last=[Wants(path="/logout", body={"renewal": "rt-s3cret"}, answer={})],
    ),
    "a client that signs who it is": Quirk(
        policy=KEYED(grant="client_credentials", more='client_id = "app-1"')
        + """
[auth.assertion]
algorithm = "ES256"
key = { field = "key" }
key_id = "k1"
[auth.token]
url = "URL/token"
client_auth = "jwt"
""",
        given={"key": pem(EC)},
        first=[
            Wants(
                body={
                    "grant_type": "client_credentials",
                    "client_id": "app-1",
                    "client_assertion_type": BY_JWT,
                    "client_assertion": Signed(
                        EC.public_key(), "ES256", kid="k1", iss="app-1", sub="app-1", aud="URL/token", held=300
                    ),
                },
                answer=ONE | {"refresh_token": "rt-s3cret"},
            )
        ],
        then=[
            Wants(
                body={
                    "grant_type": "refresh_token",
                    "refresh_token": "rt-s3cret",
                    "client_id": "app-1",
                    "client_assertion_type": BY_JWT,
                    "client_assertion": Signed(
                        EC.public_key(), "ES256", kid="k1", iss="app-1", sub="app-1", aud="URL/token", held=300
                    ),
                },
                answer=TWO,
            )
        ],
    ),
    "a service account": Quirk(
        policy=KEYED(grant="jwt_bearer", more="").replace(
            "[auth]", '[[fields]]\nname = "email"\n[[fields]]\nname = "user"\nrequired = false\n[auth]'
        )
        + """
[auth.assertion]
key = { field = "key" }
issuer = "{{ email }}"
subject = "{{ user }}"
lifetime = "1h"
claims = { scope = "drive mail", target = { n = 1 }, jti = false }
[auth.token]
url = "URL/token"
""",
        given={"key": pem(RSA).replace("\n", "\\n"), "email": "robot@quirk.test"},
        first=[
            Wants(
                body={
                    "grant_type": JWT_BEARER,
                    "assertion": Signed(
                        RSA.public_key(),
                        "RS256",
                        iss="robot@quirk.test",
                        aud="URL/token",
                        scope="drive mail",
                        target={"n": 1},
                        held=3600,
                    ),
                },
                answer=ONE,
            )
        ],
        then=[
            Wants(
                body={
                    "grant_type": JWT_BEARER,
                    "assertion": Signed(
                        RSA.public_key(),
                        "RS256",
                        iss="robot@quirk.test",
                        aud="URL/token",
                        scope="drive mail",
                        target={"n": 1},
                        held=3600,
                    ),
                },
                answer=TWO,
            )
        ],
    ),
    "an app's installation": Quirk(
        policy=KEYED(grant="jwt_bearer", more='client_id = "app-1"').replace(
            "[auth]", '[[fields]]\nname = "installation"\n[auth]'
        )
        + """
[auth.assertion]
key = { field = "key" }
lifetime = "9m"
claims = { aud = false, sub = false, jti = false }
[auth.token]
url = "URL/app/installations/{{ installation }}/access_tokens"
client_auth = "none"
params = { grant_type = false, assertion = false, client_id = false }
headers = { Authorization = "Bearer {{ assertion }}" }
response = { access_token = "token", expires_in = "expires_at" }
expires = "date"
[auth.revoke]
url = "URL/installation/token"
method = "DELETE"
format = "query"
params = { token = false, token_type_hint = false, client_id = false }
headers = { Authorization = "Bearer {{ access_token }}" }
""",
        given={"key": pem(RSA).replace("\n", " "), "installation": "42"},
        first=[
            Wants(
                path="/app/installations/42/access_tokens",
                headers={"Authorization": Signed(RSA.public_key(), "RS256", before="Bearer ", iss="app-1", held=540)},
                status=201,
                answer={"token": "one-s3cret", "expires_at": "2023-11-14T23:13:20Z"},
            )
        ],
        then=[
            Wants(
                path="/app/installations/42/access_tokens",
                headers={"Authorization": Signed(RSA.public_key(), "RS256", before="Bearer ", iss="app-1", held=540)},
                status=201,
                answer={"token": "two-s3cret", "expires_at": "2023-11-15T23:13:20Z"},
            )
        ],
        last=[
            Wants(
                method="DELETE",
                path="/installation/token",
                headers={"Authorization": "Bearer two-s3cret"},
                status=204,
            )
        ],
    ),
    "a token that is signed here": Quirk(
        policy=KEYED(grant="jwt", more="").replace("[auth]", '[[fields]]\nname = "id"\n[auth]')
        + """
[auth.assertion]
algorithm = "HS256"
key = { field = "key" }
key_encoding = "hex"
key_id = "{{ id }}"
audience = "/admin/"
lifetime = "5m"
""",
        given={"key": HMAC.hex(), "id": "k7"},
        tokens=(OF_OURS, OF_OURS),
        lives=240,
    ),
    "a client secret that is signed": Quirk(
        policy=KEYED(grant="authorization_code", more='client_id = "app-1"')
        + """
[auth.assertion]
algorithm = "ES256"
key = { field = "key" }
issuer = "team"
audience = "https://quirk.test"
claims = { jti = false }
[auth.authorize]
url = "URL/login"
pkce = "off"
[auth.token]
url = "URL/token"
client_auth = "none"
params = { client_secret = "{{ assertion }}" }
""",
        given={"key": pem(EC)},
        login=STANDARD_LOGIN,
        first=[
            Wants(
                body={
                    "grant_type": "authorization_code",
                    "code": CODE,
                    "redirect_uri": CALLBACK,
                    "client_id": "app-1",
                    "client_secret": Signed(
                        EC.public_key(), "ES256", iss="team", sub="app-1", aud="https://quirk.test", held=300
                    ),
                },
                answer=ONE | {"refresh_token": "rt-s3cret"},
            )
        ],
        then=[
            Wants(
                body={
                    "grant_type": "refresh_token",
                    "refresh_token": "rt-s3cret",
                    "client_id": "app-1",
                    "client_secret": Signed(
                        EC.public_key(), "ES256", iss="team", sub="app-1", aud="https://quirk.test", held=300
                    ),
                },
                answer=TWO,
            )
        ],
    ),
    "a person's token beside the bot's": Quirk(
        policy=CLIENT(grant="authorization_code")
        + """
[auth.authorize]
url = "URL/login"
pkce = "off"
[auth.token]
url = "URL/token"
success_when = "ok"
response = { access_token = "authed_user.access_token", refresh_token = "authed_user.refresh_token" }
""",
        login=STANDARD_LOGIN,
        first=[
            Wants(
                headers={"Authorization": BASIC},
                body={"grant_type": "authorization_code", "code": CODE, "redirect_uri": CALLBACK},
                answer={
                    "ok": True,
                    "access_token": "bot-s3cret",
                    "expires_in": 3600,
                    "authed_user": {"access_token": "one-s3cret", "refresh_token": "rt-s3cret"},
                },
            )
        ],
        then=[
            Wants(
                headers={"Authorization": BASIC},
                body={"grant_type": "refresh_token", "refresh_token": "rt-s3cret"},
                answer={"ok": True, "authed_user": {"access_token": "two-s3cret"}, "expires_in": 3600},
            )
        ],
    ),
}
