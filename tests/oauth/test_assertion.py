"""Signed statements, as whoever verifies them reads them."""

import base64
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from gateway.oauth.assertion import KeyUnusable, Statement, sign
from gateway.secret import Secret

NOW = 1_700_000_000.9
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
SHARED = b"0123456789abcdef0123456789abcdef>>"


def pem(key: Any, form: Any = serialization.PrivateFormat.PKCS8) -> str:
    return str(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode())


def claims_of(token: Secret, key: Any, algorithm: str) -> dict[str, Any]:
    unchecked = {"verify_exp": False, "verify_aud": False}
    claims: dict[str, Any] = jwt.decode(token.reveal(), key, algorithms=[algorithm], options=unchecked)
    return claims


def test_it_says_who_to_whom_and_until_when_and_is_never_the_same_twice() -> None:
    """It is dated back a little: a provider whose clock is behind would refuse what comes from its future."""
    statement = Statement(
        algorithm="RS256",
        key_id="k1",
        issuer="me",
        subject="ann",
        audience="https://id.test/token",
        lifetime=300.0,
        claims={"scope": "a b", "n": 1},
        headers={"typ": "client+jwt"},
    )
    signed = sign(statement, Secret(pem(RSA)), now=NOW, unique="u1")
    assert claims_of(signed.token, RSA.public_key(), "RS256") == {
        "iss": "me",
        "sub": "ann",
        "aud": "https://id.test/token",
        "iat": 1_699_999_970,
        "exp": 1_700_000_270,
        "jti": "u1",
        "scope": "a b",
        "n": 1,
    }
    assert signed.expires_at == 1_700_000_270
    header = jwt.get_unverified_header(signed.token.reveal())
    assert header == {"alg": "RS256", "kid": "k1", "typ": "client+jwt"}


def test_what_is_not_known_and_what_the_policy_takes_out_is_left_out() -> None:
    statement = Statement(algorithm="HS256", lifetime=60, claims={"jti": False, "iat": False, "admin": False})
    signed = sign(statement, Secret(SHARED.decode()), now=NOW, unique="u1")
    assert claims_of(signed.token, SHARED, "HS256") == {"exp": 1_700_000_030, "admin": False}


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("RS256", pem(RSA)),
        ("PS384", pem(RSA, serialization.PrivateFormat.TraditionalOpenSSL)),
        ("RS512", pem(RSA).replace("\n", " ")),
        ("RS256", pem(RSA).replace("\n", "\\n")),
        ("RS256", pem(RSA).replace("\n", "")),
        ("RS256", f"  \r\n{pem(RSA)}".replace("\n", "\r\n")),
        ("ES256", pem(EC)),
        ("EdDSA", pem(ED)),
    ],
)
def test_a_private_key_is_read_however_it_was_pasted(algorithm: str, key: str) -> None:
    signed = sign(Statement(algorithm=algorithm, lifetime=60), Secret(key), now=NOW, unique="u")
    public = {"E": EC, "R": RSA, "P": RSA}[algorithm[0]] if algorithm != "EdDSA" else ED
    assert claims_of(signed.token, public.public_key(), algorithm)["jti"] == "u"


@pytest.mark.parametrize(
    ("encoding", "key"),
    [
        ("text", SHARED.decode()),
        ("hex", SHARED.hex()),
        ("base64", base64.b64encode(SHARED).decode()),
        ("base64", base64.urlsafe_b64encode(SHARED).decode().rstrip("=")),
    ],
)
def test_a_shared_key_is_read_as_the_policy_says(encoding: Any, key: str) -> None:
    statement = Statement(algorithm="HS256", key_encoding=encoding, lifetime=60)
    assert claims_of(sign(statement, Secret(key), now=NOW, unique="u").token, SHARED, "HS256")["jti"] == "u"


@pytest.mark.parametrize(
    ("algorithm", "encoding", "key"),
    [
        ("RS256", "text", "no-key-s3cret"),
        ("RS256", "text", "-----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY-----"),
        ("RS256", "text", pem(EC)),
        ("ES256", "text", pem(RSA)),
        ("RS256", "text", "-----BEGIN CERTIFICATE-----\ns3cret\n-----END CERTIFICATE-----"),
        ("HS256", "hex", "s3cret"),
        ("HS256", "base64", "s3cret!"),
        ("HS256", "text", pem(RSA)),
    ],
)
def test_a_key_that_can_not_sign_is_named_and_not_shown(algorithm: str, encoding: Any, key: str) -> None:
    statement = Statement(algorithm=algorithm, key_encoding=encoding, lifetime=60)
    with pytest.raises(KeyUnusable) as caught:
        sign(statement, Secret(key), now=NOW, unique="u")
    assert "[auth.assertion]" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
