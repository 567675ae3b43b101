"""`gateway connect` where a person types a code in at the provider's (RFC 8628): the code, and waiting for them."""

import asyncio
from collections.abc import Mapping

from gateway.app import Gateway
from gateway.cli.output import moment, note, progress, say, show_json
from gateway.oauth.answer import TokenAnswer
from gateway.oauth.device import DeviceCode, Pending
from gateway.policy.model import Policy
from gateway.secret import Secret
from gateway.vault.connecting import validated
from gateway.vault.logins import code_expired

Values = Mapping[str, str | Secret]


async def tokens_by_code(gateway: Gateway, app: str, policy: Policy, values: Values, *, json: bool) -> TokenAnswer:
    """Print a code and where to type it in; ask the provider, as often as it wants, until somebody has.

    Raises `AuthorizationServerError`: it was refused, or has expired; `ClientError`: a value isn't right.
    """
    typed = {name: value if isinstance(value, str) else value.reveal() for name, value in values.items()}
    given = {name: values.get(name, value) for name, value in validated(policy, typed).items()}
    code = await gateway.vault.logins.ask_for_code(app, policy, fields=given)
    ends = gateway.clock() + code.expires_in
    _show(code, ends, json=json)
    interval, begun, said = code.interval, gateway.clock(), ""
    with progress(f"Waiting until {policy.name} has the code") as step:
        while gateway.clock() < ends:
            await asyncio.sleep(interval)
            step(int(gateway.clock() - begun), int(code.expires_in))
            came = await gateway.vault.logins.poll(
                app, policy, fields=given, device_code=code.device_code, interval=interval
            )
            if not isinstance(came, Pending):
                return came
            interval = came.interval
            if came.detail not in ("", said):
                said = came.detail
                note(f"Not yet: {said} It is asked again.")
    raise code_expired(policy)


def _show(code: DeviceCode, ends: float, *, json: bool) -> None:
    if json:
        shown = {"user_code": code.user_code, "verification_uri": code.verification_uri, "link": code.link or None}
        show_json(shown | {"expires_at": moment(ends)})
        return
    note(f"Open this page, and type in the code before {moment(ends)}:")
    say(code.verification_uri)
    say(code.user_code)
    if code.user_code in code.link:
        note(f"Or open {code.link}, which has the code in it.")
