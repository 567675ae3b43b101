"""The requests that ask a token endpoint for tokens, and the one that takes a token back."""

from collections.abc import Sequence

from gateway.oauth.endpoint import ClientCredentials, Endpoint, ParamValue, build_request
from gateway.oauth.message import OutgoingRequest
from gateway.secret import Secret

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"  # RFC 7523 §2.1


def code_request(
    endpoint: Endpoint, client: ClientCredentials, *, code: Secret, redirect_uri: str, verifier: Secret | None
) -> OutgoingRequest:
    """Exchange an authorization code (RFC 6749 §4.1.3, RFC 7636 §4.5)."""
    standard: dict[str, ParamValue | None] = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": verifier,
    }
    return build_request(endpoint, standard, client)


def password_request(
    endpoint: Endpoint, client: ClientCredentials | None, *, username: str, password: Secret, scope: str | None = None
) -> OutgoingRequest:
    """Ask with the resource owner's password (RFC 6749 §4.3.2)."""
    standard: dict[str, ParamValue | None] = {
        "grant_type": "password",
        "username": username,
        "password": password,
        "scope": scope,
    }
    return build_request(endpoint, standard, client)


def client_credentials_request(
    endpoint: Endpoint, client: ClientCredentials, *, scope: str | None = None
) -> OutgoingRequest:
    """Ask in the client's own name (RFC 6749 §4.4.2)."""
    return build_request(endpoint, {"grant_type": "client_credentials", "scope": scope}, client)


def jwt_bearer_request(
    endpoint: Endpoint, client: ClientCredentials | None, *, assertion: Secret, scope: str | None = None
) -> OutgoingRequest:
    """Ask with a statement that the client has signed (RFC 7523 §2.1)."""
    standard: dict[str, ParamValue | None] = {"grant_type": JWT_BEARER, "assertion": assertion, "scope": scope}
    return build_request(endpoint, standard, client)


def own_request(endpoint: Endpoint) -> OutgoingRequest:
    """Ask in a way that no standard has: with what the policy says, and nothing else."""
    return build_request(endpoint, {}, None)


def refresh_request(
    endpoint: Endpoint, client: ClientCredentials | None, *, token: Secret, kind: str = "refresh_token"
) -> OutgoingRequest:
    """Ask for a new access token (RFC 6749 §6). `kind` is what it is asked with; some take the access token."""
    return build_request(endpoint, {"grant_type": "refresh_token", kind: token}, client)


def revocation_request(
    endpoint: Endpoint, client: ClientCredentials | None, *, token: Secret, hint: str
) -> OutgoingRequest:
    """Take a token back (RFC 7009 §2.1). `hint` is `access_token` or `refresh_token`."""
    return build_request(endpoint, {"token": token, "token_type_hint": hint}, client)


def join_scopes(scopes: Sequence[str], separator: str = " ") -> str | None:
    """Return the scopes as one parameter, or None where there are none (RFC 6749 §3.3; some providers want commas)."""
    return separator.join(scopes) or None
