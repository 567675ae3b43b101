"""The calls to a provider's token and revocation endpoints. A failure of any kind is a value: `TokenRefused`."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from gateway.errors import PolicyError, Refusal, UpstreamError
from gateway.oauth import grants
from gateway.oauth.answer import TokenAnswer, TokenRefused, laid_over, read_parameters, read_revocation, read_token
from gateway.oauth.assertion import BEHIND
from gateway.oauth.authorize import AuthorizationEndpoint, authorization_url
from gateway.oauth.device import (
    DeviceCode,
    Pending,
    device_request,
    poll_request,
    read_device_code,
    read_poll,
    slower,
)
from gateway.oauth.endpoint import ClientCredentials, Endpoint
from gateway.oauth.grants import join_scopes
from gateway.oauth.message import Answer, OutgoingRequest
from gateway.oauth.oauth1 import (
    RequestToken,
    login_url,
    read_access_token,
    read_request_token,
    unsigned,
)
from gateway.policy.context import Context
from gateway.policy.found import Stage, found_at
from gateway.policy.model import Authorize, Grant, Policy, RequestTokenEndpoint, TokenEndpoint
from gateway.policy.moment import ENTROPY
from gateway.policy.oauth1 import OAuth1
from gateway.policy.sign import algorithm_of
from gateway.secret import Secret
from gateway.vault.credentials import Credentials
from gateway.vault.rendering import Described, Own, Prepared, prepare, render_login, signed_by, with_own
from gateway.vault.signing import signed
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
    """Asks a provider for tokens. `clock` gives epoch seconds, `entropy(n)` random bytes."""

    def __init__(
        self,
        *,
        egress: WayOut,
        sources: Sources,
        clock: Callable[[], float],
        entropy: Callable[[int], bytes],
        patience: float = CALL_SECONDS,
    ) -> None:
        self._egress = egress
        self._sources = sources
        self._clock = clock
        self._entropy = entropy
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
        endpoint = await self._login(app, policy, described, context, client)
        return authorization_url(
            endpoint, client_id=client.client_id, redirect_uri=redirect_uri, state=state, verifier=verifier
        )

    async def _login(
        self, app: str, policy: Policy, described: Authorize, context: Context, client: ClientCredentials | None
    ) -> AuthorizationEndpoint:
        own = Own(client=client, key=None, certificate=None, now=self._clock(), random=self._entropy(ENTROPY))
        try:
            return await asyncio.to_thread(render_login, policy, described, context, own)
        except ValueError as error:  # as in `_prepare`
            raise _unusable(app, f"can't be used: {error}") from error

    async def redeem(
        self, app: str, policy: Policy, context: Context, *, code: Secret, redirect_uri: str, verifier: Secret
    ) -> TokenAnswer | TokenRefused:
        """Exchange an authorization code. Raises `PolicyError`, `StoreError`."""
        if policy.auth.token is None or policy.auth.authorize is None:
            raise _unusable(app, "has no [auth.token]")
        prepared = await self._prepare(app, policy, policy.auth.token, context)
        if prepared.client is None:
            raise _unusable(app, "has no auth.client_id")
        proof = None if policy.auth.authorize.pkce == "off" else verifier
        request = grants.code_request(
            prepared.endpoint, prepared.client, code=code, redirect_uri=redirect_uri, verifier=proof
        )
        answer = await self._tokens(request, prepared.endpoint, None)
        return await self._exchanged(app, policy, context, answer)

    async def request_token(
        self, app: str, policy: Policy, context: Context, *, callback: str
    ) -> tuple[RequestToken, str] | TokenRefused:
        """Ask for what a login of OAuth 1.0a begins with; return it and the login URL. Raises as `login_url`."""
        described, login = policy.auth.request_token, policy.auth.authorize
        if described is None or login is None:
            raise _unusable(app, "has no [auth.request_token], or no [auth.authorize]")
        came = await self._signed_call(app, policy, described, context, said={"oauth_callback": callback})
        if isinstance(came, TokenRefused):
            return came
        answer, endpoint, now, secrets = came
        token = read_request_token(answer, endpoint, now=now, secrets=secrets)
        if isinstance(token, TokenRefused):
            return token
        client = await self._sources.client(app, policy, context)
        return token, login_url(await self._login(app, policy, login, context, client), token)

    async def redeem_verifier(
        self, app: str, policy: Policy, context: Context, *, token: RequestToken, verifier: Secret
    ) -> TokenAnswer | TokenRefused:
        """Exchange what the login of OAuth 1.0a began with (RFC 5849 §2.3). Raises as `redeem`."""
        described = policy.auth.token
        if described is None:
            raise _unusable(app, "has no [auth.token]")
        said = {"oauth_verifier": verifier.reveal()}
        came = await self._signed_call(app, policy, described, context, said=said, token=token)
        if isinstance(came, TokenRefused):
            return came
        answer, endpoint, now, secrets = came
        return read_access_token(answer, endpoint, now=now, secrets=(*secrets, token.secret, verifier))

    async def _signed_call(
        self,
        app: str,
        policy: Policy,
        described: TokenEndpoint | RequestTokenEndpoint,
        context: Context,
        *,
        said: Mapping[str, str],
        token: RequestToken | None = None,
    ) -> tuple[Answer, Endpoint, float, tuple[Secret, ...]] | TokenRefused:
        """Make one signed call of a login; return its answer, what was asked and when, and every secret in it."""
        client = await self._sources.client(app, policy, context)
        if client is None or client.client_secret is None:
            raise _unusable(app, "has no auth.client_id, or no auth.client_secret, to sign with")
        # No template sees the secret that signs.
        prepared = await self._prepare(app, policy, described, context, replace(client, client_secret=None))
        signer = OAuth1(
            algorithm=algorithm_of(policy),
            consumer_key=client.client_id,
            consumer_secret=client.client_secret.reveal(),
            token=token.token if token else None,
            token_secret=token.secret.reveal() if token else None,
            said=said,
        )
        now = self._clock()
        try:
            request = signed(unsigned(prepared.endpoint), signer, now=now, random=self._entropy(ENTROPY))
        except ValueError as error:  # a URL that is none with its values
            raise _unusable(app, f"can't be used: {error}") from error
        try:
            answer = await self._egress.send(request, timeout=self._patience)
        except UpstreamError as error:
            return _unreached(error)
        return answer, prepared.endpoint, now, (*request.secrets, client.client_secret)

    def read_fragment(self, policy: Policy, params: Mapping[str, str]) -> TokenAnswer | TokenRefused:
        """Read the tokens that an implicit grant's fragment brought (RFC 6749 §4.2.2)."""
        described = policy.auth.token
        endpoint = Endpoint(
            url="",
            response={} if described is None else described.response,
            expires="seconds" if described is None else described.expires,
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
        """Ask anew: in the client's own name, with the password, or as the policy says.

        `held` is what a refusal may repeat besides what was sent, and is taken out of its words. By `until` (the loop's
        time) it has ended; None: within our patience. Raises `PolicyError`, `StoreError`.
        """
        if policy.auth.grant is Grant.JWT:
            return await self._signed(app, policy, context)
        if policy.auth.token is None:
            raise _unusable(app, "has no [auth.token]")
        prepared = await self._prepare(app, policy, policy.auth.token, context)
        request = _asking(app, policy, prepared, context)
        if isinstance(request, TokenRefused):
            return request
        answer = await self._tokens(request, prepared.endpoint, until, held)
        return await self._exchanged(app, policy, context, answer, until=until, held=held)

    async def refresh(
        self,
        app: str,
        policy: Policy,
        context: Context,
        *,
        token: Secret,
        until: float | None = None,
        held: tuple[Secret, ...] = (),
    ) -> TokenAnswer | TokenRefused:
        """Ask with the token that renews (`timing.renews_with`). `until` and `held` as for `ask`. Raises as `ask`."""
        described, refresh = policy.refresh_endpoint, policy.auth.refresh
        if described is None:
            raise _unusable(app, "has neither [auth.refresh] nor [auth.token]")
        name = "refresh_token" if refresh is None else refresh.token
        context = replace(context, token={**context.token, name: token.reveal()})
        prepared = await self._prepare(app, policy, described, context)
        if policy.auth.grant is Grant.CUSTOM:
            request = grants.own_request(prepared.endpoint)
        else:
            request = grants.refresh_request(prepared.endpoint, prepared.client, token=token, kind=name)
        standing = Credentials(token=context.token).access_token if refresh is not None and refresh.extends else None
        return await self._tokens(request, prepared.endpoint, until, held, standing)

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
        if credentials.refresh_token is not None:
            context = replace(context, token={**context.token, "refresh_token": credentials.refresh_token.reveal()})
        prepared = await self._prepare(app, policy, described, context)
        request = grants.revocation_request(prepared.endpoint, prepared.client, token=token, hint=kind)
        try:
            answer = await self._egress.send(request, timeout=CALL_SECONDS)
        except UpstreamError as error:
            return _unreached(error)
        known = (*request.secrets, *credentials.all_secrets)
        return read_revocation(answer, prepared.endpoint, now=self._clock(), secrets=known)

    async def _exchanged(
        self,
        app: str,
        policy: Policy,
        context: Context,
        answer: TokenAnswer | TokenRefused,
        *,
        until: float | None = None,
        held: tuple[Secret, ...] = (),
    ) -> TokenAnswer | TokenRefused:
        """Return what [auth.exchange] makes of tokens that were just got; without one, these."""
        described = policy.auth.exchange
        if described is None or isinstance(answer, TokenRefused):
            return answer
        held = (*held, answer.access_token, *filter(None, [answer.refresh_token]))
        context = replace(context, token={**context.token, **answer.raw})
        try:
            found = await asyncio.to_thread(found_at, policy, context, Stage.TOKEN)
        except ValueError as error:
            return TokenRefused(error="not_said", detail=f"The token that came could not be exchanged: {error}.")
        prepared = await self._prepare(app, policy, described, replace(context, fields={**context.fields, **found}))
        lasting = await self._tokens(grants.own_request(prepared.endpoint), prepared.endpoint, until, held)
        if isinstance(lasting, TokenRefused):
            return replace(lasting, detail=f"The token that came could not be exchanged. {lasting.detail}", final=False)
        return laid_over(answer, lasting)

    async def _signed(self, app: str, policy: Policy, context: Context) -> TokenAnswer:
        """Return the statement that the policy describes, as a token. Nobody is asked."""
        own = await self._own(app, policy, context)
        try:
            signed = await asyncio.to_thread(signed_by, policy, with_own(context, own), own)
        except ValueError as error:
            raise _unusable(app, f"can't be used: {error}") from error
        if signed is None:
            raise _unusable(app, "has no [auth.assertion]")
        return TokenAnswer(
            raw={"access_token": signed.token.reveal()},
            access_token=signed.token,
            expires_at=signed.expires_at - BEHIND,  # what leaves here a moment before its end would arrive after it
        )

    async def device_code(self, app: str, policy: Policy, context: Context) -> DeviceCode | TokenRefused:
        """Ask for a code that a person types in (RFC 8628 §3.1). Raises `PolicyError`, `StoreError`."""
        described = policy.auth.device
        if described is None:
            raise _unusable(app, "has no [auth.device]")
        prepared = await self._prepare(app, policy, described, context)
        if prepared.client is None:
            raise _unusable(app, "has no auth.client_id")
        scope = join_scopes(described.scopes, described.scope_separator)
        request = device_request(prepared.endpoint, prepared.client, scope=scope)
        try:
            answer = await self._egress.send(request, timeout=self._patience)
        except UpstreamError as error:
            return _unreached(error)
        return read_device_code(answer, prepared.endpoint, now=self._clock(), secrets=request.secrets)

    async def poll(
        self, app: str, policy: Policy, context: Context, *, device_code: Secret, interval: float
    ) -> TokenAnswer | Pending | TokenRefused:
        """Ask once whether a code was used; `interval` is how many seconds polls are apart. Raises as `device_code`."""
        if policy.auth.token is None:
            raise _unusable(app, "has no [auth.token]")
        prepared = await self._prepare(app, policy, policy.auth.token, context)
        if prepared.client is None:
            raise _unusable(app, "has no auth.client_id")
        request = poll_request(prepared.endpoint, prepared.client, device_code=device_code)
        now = self._clock()  # before the call, as in `_tokens`
        try:
            answer = await self._egress.send(request, timeout=self._patience)
        except UpstreamError as error:
            return slower(interval, error.refusal.detail)
        got = read_poll(answer, prepared.endpoint, interval=interval, now=now, secrets=request.secrets)
        return await self._exchanged(app, policy, context, got) if isinstance(got, TokenAnswer) else got

    async def _tokens(
        self,
        request: OutgoingRequest,
        endpoint: Endpoint,
        until: float | None,
        held: tuple[Secret, ...] = (),
        standing: Secret | None = None,
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
        return read_token(answer, endpoint, now=now, secrets=(*request.secrets, *held), standing=standing)

    async def _prepare(
        self,
        app: str,
        policy: Policy,
        described: Described,
        context: Context,
        client: ClientCredentials | None = None,
    ) -> Prepared:
        own = await self._own(app, policy, context, client)
        try:
            return await asyncio.to_thread(prepare, policy, described, context, own)
        except ValueError as error:  # a missing value, a URL that is none with its values, a script
            raise _unusable(app, f"can't be used: {error}") from error

    async def _own(self, app: str, policy: Policy, context: Context, client: ClientCredentials | None = None) -> Own:
        return Own(
            client=client or await self._sources.client(app, policy, context),
            key=await self._sources.key(app, policy, context),
            certificate=await self._sources.certificate(app, policy, context),
            now=self._clock(),
            random=self._entropy(ENTROPY),
        )


def _asking(app: str, policy: Policy, prepared: Prepared, context: Context) -> OutgoingRequest | TokenRefused:
    """Return the request by which a grant without a login asks for a token."""
    endpoint, client = prepared.endpoint, prepared.client
    match policy.auth.grant:
        case Grant.PASSWORD:
            username, password = context.fields.get("username"), context.fields.get("password")
            if not username or not password:
                return TokenRefused(error="no_password", detail="There is no user name and password to ask with.")
            secret = Secret(_plain(password))
            return grants.password_request(endpoint, client, username=_plain(username), password=secret)
        case Grant.JWT_BEARER if prepared.signed is not None:
            return grants.jwt_bearer_request(endpoint, client, assertion=prepared.signed.token)
        case Grant.CUSTOM:
            return grants.own_request(endpoint)
        case Grant.CLIENT_CREDENTIALS if client is not None:
            return grants.client_credentials_request(endpoint, client)
        case Grant.CLIENT_CREDENTIALS:
            raise _unusable(app, "has no auth.client_id")
    raise _unusable(app, "has no [auth.assertion]")


def _plain(value: str | Secret) -> str:
    return value.reveal() if isinstance(value, Secret) else value


def _unreached(error: UpstreamError) -> TokenRefused:
    return TokenRefused(error=error.refusal.code, detail=error.refusal.detail)


def _unusable(app: str, why: str) -> PolicyError:
    refusal = Refusal(code="invalid", detail=f"The policy of {app} {why}.", hint=f"Change policies/{app}.toml.")
    return PolicyError(refusal)
