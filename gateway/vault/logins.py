"""Logins on a provider's own pages: where a person is sent, and what their coming back is worth.

Nothing is stored here. `begin` gives the login URL; `redeem` (a code) and `read_fragment` (an implicit grant) give the
tokens, which `Vault.connect` takes as its `answer`. Where nobody comes back, `ask_for_code` gives a code to type in,
and `poll` the tokens once somebody has. Who may finish which login, and when to poll, is for the callers to hold.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlencode

from gateway.errors import AuthorizationServerError, ClientError, Refusal
from gateway.oauth.answer import TokenAnswer, TokenRefused
from gateway.oauth.device import DeviceCode, Pending
from gateway.oauth.endpoint import with_query
from gateway.oauth.oauth1 import RequestToken
from gateway.policy.context import Context
from gateway.policy.fields import with_defaults
from gateway.policy.found import Stage, found_at
from gateway.policy.model import Policy
from gateway.secret import Secret
from gateway.vault.provider import Provider

_ENDED = {
    "access_denied": "Whoever looked at the code at {name} refused it.",
    "expired_token": "The code has expired before anybody allowed it at {name}.",
}
"""How a poll says that it is over (RFC 8628 §3.5), in a person's words."""
_AGAIN = "Begin again for a new code."

Values = Mapping[str, str | Secret]


class Logins:
    """The two ends of a login. `fields` are what the person filled in, what must not be seen as `Secret`."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def begin(
        self, app: str, policy: Policy, *, fields: Values, redirect_uri: str, state: Secret, verifier: Secret
    ) -> str:
        """Return the login URL. Raises `PolicyError`, `StoreError`."""
        return await self._provider.login_url(
            app, policy, _context(policy, fields), redirect_uri=redirect_uri, state=state, verifier=verifier
        )

    async def begin_signed(
        self, app: str, policy: Policy, *, fields: Values, redirect_uri: str, state: Secret
    ) -> tuple[str, RequestToken]:
        """Return the login URL of OAuth 1.0a, and the token that it is for, which `redeem_verifier` needs again.

        Raises `AuthorizationServerError`, `PolicyError`, `StoreError`.
        """
        callback = with_query(redirect_uri, urlencode({"state": state.reveal()}))
        came = await self._provider.request_token(app, policy, _context(policy, fields), callback=callback)
        if isinstance(came, TokenRefused):
            detail = f"{policy.name} began no sign-in. {came.detail}"
            raise AuthorizationServerError(
                Refusal(code="refresh_failed", detail=detail, hint=_registered(redirect_uri))
            )
        token, url = came
        return url, token

    async def redeem_verifier(
        self,
        app: str,
        policy: Policy,
        *,
        fields: Values,
        token: RequestToken,
        verifier: Secret,
        callback: Mapping[str, str] | None = None,
    ) -> TokenAnswer:
        """Return the tokens for a verifier of OAuth 1.0a. `callback`, and what is raised, as for `redeem`."""
        context = await _with_callback(policy, _context(policy, fields), callback)
        answer = await self._provider.redeem_verifier(app, policy, context, token=token, verifier=verifier)
        return _granted(policy, answer)

    async def redeem(
        self,
        app: str,
        policy: Policy,
        *,
        fields: Values,
        code: Secret,
        redirect_uri: str,
        verifier: Secret,
        callback: Mapping[str, str] | None = None,
    ) -> TokenAnswer:
        """Return the tokens for a code; `callback` is what came with it.

        Raises `AuthorizationServerError`, `ClientError`, `PolicyError`, `StoreError`.
        """
        context = await _with_callback(policy, _context(policy, fields), callback)
        answer = await self._provider.redeem(
            app, policy, context, code=code, redirect_uri=redirect_uri, verifier=verifier
        )
        return _granted(policy, answer, redirect_uri)

    def read_fragment(self, policy: Policy, params: Mapping[str, str]) -> TokenAnswer:
        """Return the tokens of an implicit grant. Raises `AuthorizationServerError`."""
        return _granted(policy, self._provider.read_fragment(policy, params))

    async def ask_for_code(self, app: str, policy: Policy, *, fields: Values) -> DeviceCode:
        """Return a code to type in (RFC 8628). Raises `AuthorizationServerError`, `PolicyError`, `StoreError`."""
        came = await self._provider.device_code(app, policy, _context(policy, fields))
        if isinstance(came, DeviceCode):
            return came
        detail = f"{policy.name} gave no code. {came.detail}"
        raise AuthorizationServerError(Refusal(code="refresh_failed", detail=detail))

    async def poll(
        self, app: str, policy: Policy, *, fields: Values, device_code: Secret, interval: float
    ) -> TokenAnswer | Pending:
        """Ask once whether the code was used: the tokens, or in how many seconds to ask again.

        Raises `AuthorizationServerError`: it was refused, or has expired. Raises `PolicyError`, `StoreError`.
        """
        came = await self._provider.poll(
            app, policy, _context(policy, fields), device_code=device_code, interval=interval
        )
        if isinstance(came, TokenRefused) and came.error in _ENDED:
            raise _ended(policy, came.error)
        return came if isinstance(came, Pending) else _granted(policy, came)


def code_expired(policy: Policy) -> AuthorizationServerError:
    """Return the error of a code that nobody used in time."""
    return _ended(policy, "expired_token")


def _ended(policy: Policy, how: str) -> AuthorizationServerError:
    detail = _ENDED[how].format(name=policy.name)
    return AuthorizationServerError(Refusal(code="refresh_failed", detail=detail, hint=_AGAIN))


def _context(policy: Policy, fields: Values) -> Context:
    typed = {name: value for name, value in fields.items() if isinstance(value, str)}
    secret = {name: value for name, value in fields.items() if isinstance(value, Secret)}
    return Context(fields={**with_defaults(policy, typed), **secret})


async def _with_callback(policy: Policy, context: Context, callback: Mapping[str, str] | None) -> Context:
    """Return the values with those that the callback told: the token URL may be made of them."""
    if not callback:
        return context
    context = replace(context, callback=callback)
    try:
        found = await asyncio.to_thread(found_at, policy, context, Stage.CALLBACK)
    except ValueError as error:
        detail = f"{policy.name} came back with something else than its policy wants: {error}."
        raise ClientError(Refusal(code="invalid", detail=detail, hint="Nothing was connected. Begin again.")) from error
    return replace(context, fields={**context.fields, **found})


def _granted(policy: Policy, answer: TokenAnswer | TokenRefused, redirect_uri: str = "") -> TokenAnswer:
    if isinstance(answer, TokenAnswer):
        return answer
    hint = None
    if redirect_uri and "redirect" in answer.detail.lower():  # RFC 6749 §4.1.3: it must be the registered one
        hint = _registered(redirect_uri)
    raise AuthorizationServerError(
        Refusal(code="refresh_failed", detail=f"{policy.name} gave no token. {answer.detail}", hint=hint)
    )


def _registered(redirect_uri: str) -> str:
    return f"The redirect URL that is registered there must be this one, to the letter: {redirect_uri}"
