"""The calls to a provider's token and revocation endpoints. A failure of any kind is a value: `TokenRefused`."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from gateway.errors import PolicyError, Refusal, UpstreamError
from gateway.oauth import grants
from gateway.oauth.answer import TokenAnswer, TokenRefused, read_parameters, read_revocation, read_token
from gateway.oauth.authorize import AuthorizationEndpoint, authorization_url
from gateway.oauth.endpoint import ClientCredentials, Endpoint, ParamValue
from gateway.oauth.message import Answer, OutgoingRequest
from gateway.policy.context import Context
from gateway.policy.model import Authorize, Grant, Policy, RevokeEndpoint, Script, TokenEndpoint
from gateway.policy.template import MissingValue
from gateway.policy.url import UrlTemplate
from gateway.policy.value import is_left_out, render_text
from gateway.secret import Secret
from gateway.vault.credentials import Credentials
from gateway.vault.sources import Sources

CALL_SECONDS = 20.0  # design.md, "Tokens": well under the lease, so that an answer still finds its fence
SHORTEST_CALL = 1.0  # seconds left under which a call isn't begun


class WayOut(Protocol):
    """The part of `Egress` that is used here."""

    async def send(
        self,
        request: OutgoingRequest,
        *,
        timeout: float,  # noqa: ASYNC109 -- as in Egress
        limit: int = ...,
        https_only: bool = ...,
    ) -> Answer:
        """Send a request and return its answer. Raises `UpstreamError`."""


class Provider:
    """Asks a provider for tokens. `clock` gives epoch seconds."""

    def __init__(
        self, *, egress: WayOut, sources: Sources, clock: Callable[[], float], patience: float = CALL_SECONDS
    ) -> None:
        self._egress = egress
        self._sources = sources
        self._clock = clock
        self._patience = patience

    async def login_url(
        self, app: str, policy: Policy, context: Context, *, redirect_uri: str, state: Secret, verifier: Secret
    ) -> str:
        """Return where a person signs in and allows it. Raises `PolicyError`, `StoreError`."""
        described = policy.auth.authorize
        if described is None:
            raise _unusable(app, "has no [auth.authorize]")
        client = await self._sources.client(app, policy, context)
        if client is None:
            raise _unusable(app, "has no auth.client_id")
        try:
            endpoint = await asyncio.to_thread(_render_login, policy, described, context)
        except ValueError as error:  # as in `_prepare`
            raise _unusable(app, f"can't be used: {error}") from error
        return authorization_url(
            endpoint, client_id=client.client_id, redirect_uri=redirect_uri, state=state, verifier=verifier
        )

    async def redeem(
        self, app: str, policy: Policy, context: Context, *, code: Secret, redirect_uri: str, verifier: Secret
    ) -> TokenAnswer | TokenRefused:
        """Exchange an authorization code. Raises `PolicyError`, `StoreError`."""
        if policy.auth.token is None or policy.auth.authorize is None:
            raise _unusable(app, "has no [auth.token]")
        client, endpoint = await self._prepare(app, policy, policy.auth.token, context)
        if client is None:
            raise _unusable(app, "has no auth.client_id")
        proof = None if policy.auth.authorize.pkce == "off" else verifier
        request = grants.code_request(endpoint, client, code=code, redirect_uri=redirect_uri, verifier=proof)
        return await self._tokens(request, endpoint, None)

    def read_fragment(self, policy: Policy, params: Mapping[str, str]) -> TokenAnswer | TokenRefused:
        """Read the tokens that an implicit grant's fragment brought (RFC 6749 §4.2.2)."""
        described = policy.auth.token
        endpoint = Endpoint(
            url="",
            response={} if described is None else described.response,
            default_ttl=None if policy.refresh_endpoint is None else policy.refresh_endpoint.default_ttl,
        )
        return read_parameters(params, endpoint, now=self._clock())

    async def ask(
        self,
        app: str,
        policy: Policy,
        context: Context,
        *,
        until: float | None = None,
        held: tuple[Secret, ...] = (),
    ) -> TokenAnswer | TokenRefused:
        """Ask anew, in the client's own name or with the password. Raises `PolicyError`, `StoreError`.

        `held` is what a refusal may repeat besides what was sent, and is taken out of its words. By `until` (the loop's
        time) it has ended; None: within our patience.
        """
        if policy.auth.token is None:
            raise _unusable(app, "has no [auth.token]")
        client, endpoint = await self._prepare(app, policy, policy.auth.token, context)
        if policy.auth.grant is Grant.PASSWORD:
            username, password = context.fields.get("username"), context.fields.get("password")
            if not username or not password:
                return TokenRefused(error="no_password", detail="There is no user name and password to ask with.")
            request = grants.password_request(
                endpoint, client, username=_plain(username), password=Secret(_plain(password))
            )
        elif client is None:
            raise _unusable(app, "has no auth.client_id")
        else:
            request = grants.client_credentials_request(endpoint, client)
        return await self._tokens(request, endpoint, until, held)

    async def refresh(
        self,
        app: str,
        policy: Policy,
        context: Context,
        *,
        refresh_token: Secret,
        until: float | None = None,
        held: tuple[Secret, ...] = (),
    ) -> TokenAnswer | TokenRefused:
        """Ask with the refresh token. `until` and `held` as for `ask`. Raises `PolicyError`, `StoreError`."""
        described = policy.refresh_endpoint
        if described is None:
            raise _unusable(app, "has neither [auth.refresh] nor [auth.token]")
        client, endpoint = await self._prepare(app, policy, described, context)
        request = grants.refresh_request(endpoint, client, refresh_token=refresh_token)
        return await self._tokens(request, endpoint, until, held)

    async def revoke(self, app: str, policy: Policy, context: Context, credentials: Credentials) -> TokenRefused | None:
        """Take the token back that the policy names. None: it is of no use any more. Raises as `refresh`."""
        described = policy.auth.revoke
        if described is None:
            return None
        kind = described.token
        token = credentials.refresh_token if kind == "refresh_token" else credentials.access_token
        if token is None:
            kind, token = "access_token", credentials.access_token
        if token is None:
            return None
        client, endpoint = await self._prepare(app, policy, described, context)
        request = grants.revocation_request(endpoint, client, token=token, hint=kind)
        try:
            answer = await self._egress.send(request, timeout=CALL_SECONDS)
        except UpstreamError as error:
            return _unreached(error)
        known = (*request.secrets, *credentials.all_secrets)
        return read_revocation(answer, endpoint, now=self._clock(), secrets=known)

    async def _tokens(
        self, request: OutgoingRequest, endpoint: Endpoint, until: float | None, held: tuple[Secret, ...] = ()
    ) -> TokenAnswer | TokenRefused:
        # Only now is it known how much time is left: getting here may have read the store, which may have been away.
        within = self._patience if until is None else until - asyncio.get_running_loop().time()
        if until is not None and within < SHORTEST_CALL:
            return TokenRefused(error="overloaded", detail="The store was so slow that the provider was not asked.")
        now = self._clock()  # before the call: a token's life is counted from no later than its making
        try:
            answer = await self._egress.send(request, timeout=within)
        except UpstreamError as error:
            return _unreached(error)
        return read_token(answer, endpoint, now=now, secrets=(*request.secrets, *held))

    async def _prepare(
        self, app: str, policy: Policy, described: TokenEndpoint | RevokeEndpoint, context: Context
    ) -> tuple[ClientCredentials | None, Endpoint]:
        client = await self._sources.client(app, policy, context)
        try:
            endpoint = await asyncio.to_thread(_render, policy, described, context)
        except ValueError as error:  # a missing value, a URL that is none with its values, a script
            raise _unusable(app, f"can't be used: {error}") from error
        return client, endpoint


def _render(policy: Policy, described: TokenEndpoint | RevokeEndpoint, context: Context) -> Endpoint:
    """Render an endpoint's templates and scripts; in a thread, for a script may take 50 ms."""
    url = UrlTemplate.parse(described.url).render(context)
    params = _render_params(policy, described.params, context)
    headers = {name: _render_value(value, context) for name, value in described.headers.items()}
    if isinstance(described, RevokeEndpoint):
        standing = policy.auth.token.client_auth if policy.auth.token else "basic"
        return Endpoint(url=url, client_auth=described.client_auth or standing, params=params, headers=headers)
    return Endpoint(
        url=url,
        client_auth=described.client_auth,
        format=described.format,
        params=params,
        headers=headers,
        response=described.response,
        success_when=described.success_when,
        error=described.error,
        default_ttl=None if policy.refresh_endpoint is None else policy.refresh_endpoint.default_ttl,
    )


def _render_login(policy: Policy, described: Authorize, context: Context) -> AuthorizationEndpoint:
    """Render the login URL. It goes through the person's browser, so no secret may stand in it."""
    seen = len(context.used)
    url = UrlTemplate.parse(described.url).render(context)
    params: dict[str, str | Literal[False]] = {}
    for name, value in _render_params(policy, described.params, context).items():
        params[name] = False if value is False else str(value)
    if len(context.used) > seen:
        raise ValueError("a secret stands in the login URL, which everybody between could read")
    return AuthorizationEndpoint(
        url=url,
        response_type="token" if policy.auth.grant is Grant.IMPLICIT else "code",
        scopes=described.scopes,
        scope_separator=described.scope_separator,
        pkce=described.pkce,
        params=params,
    )


def _render_params(
    policy: Policy, params: Mapping[str, str | Script | Literal[False]], context: Context
) -> dict[str, ParamValue]:
    """Render the parameters. One that needs a field which may be left out, or is used once, is left out without it."""
    rendered: dict[str, ParamValue] = {}
    for name, value in params.items():
        if value is False:
            rendered[name] = False
            continue
        try:
            rendered[name] = _render_value(value, context)
        except MissingValue as error:
            if not is_left_out(policy, error):
                raise
    return rendered


def _render_value(value: str | Script, context: Context) -> str | Secret:
    """Return the text, as a `Secret` if one went into it."""
    seen = len(context.used)
    text = render_text(value, context)
    return Secret(text) if len(context.used) > seen else text


def _plain(value: str | Secret) -> str:
    return value.reveal() if isinstance(value, Secret) else value


def _unreached(error: UpstreamError) -> TokenRefused:
    return TokenRefused(error=error.refusal.code, detail=error.refusal.detail)


def _unusable(app: str, why: str) -> PolicyError:
    refusal = Refusal(code="invalid", detail=f"The policy of {app} {why}.", hint=f"Change policies/{app}.toml.")
    return PolicyError(refusal)
