"""The web listener: the control plane, for people, operators' programs and monitoring."""

from aiohttp import web

from gateway.admin.services import Services
from gateway.admin.token import load_admin_token
from gateway.errors import Refusal, StartError
from gateway.secret import Secret
from gateway.web.site import site

LINE = 16_384
"""Bytes of the longest request line or header field taken."""


class WebServer:
    """The listener of one gateway. `token` is the admin token; left out, it is loaded as settings say."""

    def __init__(self, gateway: Services, *, token: Secret | None = None) -> None:
        self._gateway = gateway
        self._token = token
        self._runner: web.AppRunner | None = None
        self._origin = [gateway.settings.web.public_url]

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Where it listens, each a host and a port; empty while it doesn't."""
        if self._runner is None:
            return ()
        return tuple((address[0], address[1]) for address in self._runner.addresses)

    @property
    def url(self) -> str:
        """Where browsers reach it: `web.public_url`, or the real address where that one has no real port."""
        return self._origin[0]

    async def start(self) -> None:
        """Listen. Raises `StartError` where the address can't be had."""
        token = self._token or load_admin_token(self._gateway.settings)
        listen = self._gateway.settings.web.listen
        runner = web.AppRunner(
            site(self._gateway, token, self._origin),
            access_log=None,  # paths hold one-time tokens; what matters is in the audit trail
            auto_decompress=False,  # nobody compresses what is sent here, and a false claim would fill the log
            max_line_size=LINE,
            max_field_size=LINE,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, listen.host, listen.port).start()
        except OSError as error:
            await runner.cleanup()
            detail = f"The web listener can't have {listen}: {error.strerror or error}."
            hint = "Stop what listens there, or change web.listen."
            raise StartError(Refusal(code="internal", detail=detail, hint=hint)) from error
        self._runner = runner
        self._origin[0] = self._public_url()

    async def stop(self, grace: float) -> None:
        """Take no more connections, let requests under way end within `grace` seconds, then close what is left."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        runner._shutdown_timeout = grace  # noqa: SLF001 - aiohttp takes it only at construction, when nobody knows it
        await runner.cleanup()

    def _public_url(self) -> str:
        url = self._gateway.settings.web.public_url
        if not url.endswith(":0"):
            return url
        return f"{url.removesuffix(':0')}:{self.addresses[0][1]}"
