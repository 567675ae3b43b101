"""The one pipeline: every request, from every entrance, goes through these steps in this order.

    admit      does it come from us (a loop)? which connection, which client, may they?
    decide     is the target allowed, and how is it sent?
    inject     headers, query and body parameters, from a token that isn't expired
    limit      where the policy says how much the service takes: wait for a turn, or be turned away
    send       on an idle upstream connection, or a new one
    answer     a 401 is refreshed and replayed once; what failed is tried again where the policy asks for it; everything
               else is relayed

Each step is plain code while nothing has to be waited for. Where something has, the step becomes a task that returns to
the next step; there is no other way through. A refusal is a value, given to `_refuse`, and ends the exchange.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVarTuple

import structlog

from gateway.errors import GatewayError, Refusal
from gateway.http.pacing import pause_asked, retry_after, retry_after_line
from gateway.http.request import RequestHead, may_be_nominated
from gateway.http.response import ResponseHead
from gateway.http.scrub import Scrubber
from gateway.http.target import Target
from gateway.http.trace_context import read_traceparent
from gateway.http.upgrade import takes_up
from gateway.policy.anew import Made
from gateway.policy.injection import Injection
from gateway.policy.limits import Limits, Retry
from gateway.policy.match import Denied
from gateway.policy.request import ENTROPY
from gateway.proxy.access_log import Entry, shown_path
from gateway.proxy.admission import ANONYMOUS, client_name, not_permitted
from gateway.proxy.answers import CONTINUE
from gateway.proxy.content import Collector, Content
from gateway.proxy.entrances import PAGE_HINT, PATH, Route, may_be_a_page
from gateway.proxy.held import Held
from gateway.proxy.limiter import Permit
from gateway.proxy.outgoing import (
    behind_base_url,
    body_too_large,
    made_anew,
    must_be_gathered,
    outgoing_head,
    rewritten_body,
)
from gateway.proxy.permission import Permission, decide
from gateway.proxy.relay import Relay, informational_bytes, rewrite_locations, scrubbed_head
from gateway.proxy.services import Services
from gateway.proxy.upstream import PoolKey, UpstreamConnection
from gateway.secret import Secret
from gateway.store import Status
from gateway.vault import Live

if TYPE_CHECKING:
    from gateway.proxy.caller import CallerConnection

_UNAUTHORIZED = 401
_PROXY_AUTHENTICATION_REQUIRED = 407
_LOST_AT_MOST = 64 * 1024
"""Bytes that go into an idle connection before it says that it was closed: no 401 will ask for more of them again."""
_OUT_OF_REACH = frozenset({"upstream_dns", "upstream_connect", "upstream_timeout", "upstream_protocol"})
"""Refusals that tell of an upstream that may be there again in a moment."""
_Args = TypeVarTuple("_Args")
_logger = structlog.get_logger("gateway.proxy")


def _searched_for_all(live: Live, injection: Injection, sent: tuple[tuple[Secret, ...], ...]) -> Live:
    """Return `live` for another try: the service has had the secrets of what was `sent`, too, and may echo those."""
    earlier = [one for one in sent if one is not injection.secrets]
    if not earlier:
        return live
    secrets = [*injection.secrets, *(secret for one in earlier for secret in one)]
    return replace(live, scrubber=Scrubber(tuple(secrets)))


class Exchange:
    """One request and its answer."""

    # Where most exchanges end as they began: on the class, so that beginning one sets only what is its own.
    _client = ""
    _live: Live | None = None
    _gathered: bytes | None = None  # the content, whole, where parameters go into it
    _body: bytes | None = None  # the same as rewritten
    _upstream: UpstreamConnection | None = None
    _relay: Relay | None = None
    _status = 0
    _held: Held | None = None  # a 401, while we see to the token
    _replayed = False
    _retried = False
    _upgrading = False
    _ended = False
    _untold = False  # the log has had enough of this caller
    _received = 0
    _preparing = 0.0  # seconds until it was sent; of all tries together, as the next
    _waited = 0.0  # from there until upstream began to answer
    _added = b""  # lines that go upstream, beside the policy's
    _permit: Permit | None = None  # to be under way, where the policy has limits
    _tries = 1
    _sent: tuple[tuple[Secret, ...], ...] = ()  # the secrets that earlier tries had in them
    _made: Made | None = None  # what was made for this try, where the policy has such values
    _entropy = b""  # of which a part stays what it is for all tries
    _permission: Permission | None = None  # looked at once it is under way for longer than most
    _task: asyncio.Task[None] | None = None

    def __init__(
        self, services: Services, caller: "CallerConnection", route: Route, head: RequestHead, content: Content | None
    ) -> None:
        self.request_id = services.request_id()
        self.head = head
        self.content = content
        self._services = services
        self._caller = caller
        self._route = route
        self.began = self._mark = services.time()
        self._target = route.target  # as asked for, until it is decided on

    # Admit.

    def start(self) -> None:
        """Take the request in."""
        via = self.head.via if self.head.shape.via_at else None
        if via is not None and self._services.via_name in via:
            self._refuse(Refusal(code="loop_detected", detail="The request has come through this gateway before."))
            return
        if self.head.method == "TRACE":
            self._refuse(Refusal(code="request_rejected", detail="TRACE would show the credentials that are added."))
            return
        client = self._caller.admission.admit(self._route.tag, self._route.entrance)
        if isinstance(client, Refusal):
            self._client = client_name(self._services, self._route.tag)
            self._untold = not self._client and not self._caller.admission.is_news()
            self._refuse(client, keep_alive=client.code != "rate_limited")
            return
        self._client = client
        if client == ANONYMOUS and self._route.entrance == PATH and may_be_a_page(self.head):
            detail = "The request may come from a web page, and shows no client token."
            self._refuse(Refusal(code="proxy_authentication_required", detail=detail, hint=PAGE_HINT))
            return
        self._admitted()

    def _admitted(self) -> None:
        live = self._services.vault.peek(self._route.tag.connection_id)
        if live is not None:
            self._decide(live)
        else:
            self._later(self._load)

    def permitted(self) -> bool:
        """Whether it may go on: asked for as long as it waits or lasts, for permission may be taken away."""
        live, target = self._live, self._target
        if live is None or target is None:
            return True  # it will be decided on
        if self._permission is None:
            self._permission = Permission(
                self._services, self._caller.admission, route=self._route, head=self.head, live=live, target=target
            )
        return self._permission.holds()

    async def _load(self) -> None:
        live = await self._services.vault.live(self._route.tag.connection_id)
        if live is None:
            self._refuse(not_permitted(self._route.tag))
        else:
            self._decide(live)

    # Decide.

    def _decide(self, live: Live) -> None:
        if not self._is_allowed(live):
            return
        if live.expires_at is None:
            self._inject(live)
            return
        now = self._services.clock()
        if now >= live.expires_at:
            self._later(self._freshen, live)
            return
        if live.renew_at is not None and now >= live.renew_at:
            self._services.vault.renew_soon(live)
        self._inject(live)

    def _is_allowed(self, live: Live) -> bool:
        """Whether the target is allowed, and which it is then; where it isn't, that has been answered."""
        self._live = live
        if live.refusal is not None:
            self._refuse(not_permitted(self._route.tag) if live.status is Status.DISCONNECTED else live.refusal)
            return False
        target = self._route.target or behind_base_url(self._route.relative or "", live)
        if isinstance(target, Refusal):
            self._refuse(target)
            return False
        decision = decide(live, self.head, target)
        if isinstance(decision, Denied):
            self._target = target
            self._refuse(Refusal(code="target_not_allowed", detail=decision.reason, hint=decision.hint))
            return False
        self._target = decision.target
        return True

    async def _freshen(self, live: Live) -> None:
        fresh = await self._services.vault.fresh(live)
        if self._is_allowed(fresh):  # the policy may have changed in between, too
            self._inject(fresh)

    # Inject.

    def _inject(self, live: Live) -> None:
        injection = live.injection
        if self._sent and injection is not None:
            live = _searched_for_all(live, injection, self._sent)
        self._live = live
        if live.refusal is not None or injection is None:
            self._refuse(live.refusal or not_permitted(self._route.tag))
        elif live.scrub_body and self._caller.upgrade_offered(self.head):
            detail = f"{live.app} has its answers searched for secrets, which what comes behind an Upgrade can't be."
            self._refuse(Refusal(code="request_rejected", detail=detail, hint="Send it without Upgrade."))
        elif self.head.nominated and not may_be_nominated(self.head, injection.header_names):
            detail = "Connection nominates a field that the gateway adds."
            self._refuse(Refusal(code="request_rejected", detail=detail))
        elif self._gathered is not None:
            self._rewrite(injection, self._gathered)  # anew: the token in it may have changed, and the policy
        elif (injection.body_keys or injection.anew is not None) and self.content is not None:
            self._collect(self.content, injection)
        else:
            self._send()

    def _collect(self, content: Content, injection: Injection) -> None:
        """Gather the content where parameters go into it, or it is signed: all is here before any of it is sent."""
        if not must_be_gathered(self.head, injection):
            self._send()
            return
        limit = self._services.settings.limits.rewrite_bytes
        if (self.head.content_length or 0) > limit:
            self._refuse(body_too_large(limit))
            return
        if self.head.expects_continue and not content.complete and self.head.version == "1.1":
            self._caller.write(CONTINUE)

        content.flow_to(Collector(limit=limit, done=self._collected))

    def _collected(self, body: bytes | None) -> None:
        """Decide anew: the caller may have taken its time, and the token and the policy be others now."""
        if body is None:
            self._refuse(body_too_large(self._services.settings.limits.rewrite_bytes))
            return
        self._gathered = body
        self._decide_anew()

    def _decide_anew(self) -> None:
        """Decide by what holds now: time has passed."""
        live = self._services.vault.peek(self._route.tag.connection_id)
        if live is None:
            self._later(self._load)
        elif not self._ended:
            self._decide(live)

    def _rewrite(self, injection: Injection, body: bytes) -> None:
        if injection.anew is not None:
            self._body = body  # at hand; parameters go into it when it is sent
            self._send()
            return
        rewritten = rewritten_body(self.head, injection, body)
        if isinstance(rewritten, Refusal):
            self._refuse(rewritten)
            return
        self._body = rewritten
        self._send()

    # Limit.

    def _enter(self, live: Live, limits: Limits) -> bool:
        """Take a turn. False: it has to be waited for."""
        self._permit = self._services.limiter.enter(limits, live.connection_id, live.app)
        if self._permit is None:
            self._later(self._wait_for_turn, live, limits)
        return self._permit is not None

    async def _wait_for_turn(self, live: Live, limits: Limits) -> None:
        permit = await self._wait_to_enter(live, limits)
        if isinstance(permit, Refusal):
            self._refuse(permit)
        elif self.permitted():
            self._decide_anew()
        else:
            self.withdraw()

    async def _wait_to_enter(self, live: Live, limits: Limits) -> Permit | Refusal:
        limiter = self._services.limiter
        permit: Permit | Refusal | None = limiter.enter(limits, live.connection_id, live.app)
        if permit is None:
            self._caller.preparing()
            permit = await limiter.wait(limits, live.connection_id, live.app, self._client)
        if isinstance(permit, Permit):
            self._permit = permit
        return permit

    def parted(self) -> None:
        """End what came behind a 101."""
        self._leave()

    def _leave(self) -> None:
        """Give back what it had for being under way."""
        permit, self._permit = self._permit, None
        if permit is not None:
            permit.leave()

    # Send.

    def _send(self) -> None:
        live, target = self._live, self._target
        if live is None or target is None or self._ended:
            return
        if live.limits is not None and self._permit is None and not self._enter(live, live.limits):
            return
        injection = live.injection
        if injection is not None and injection.anew is not None and not self._make_anew(live, target, injection):
            return
        pool = self._services.pool
        key = (live.connection_id, target.origin)
        idle = None if self._retried else pool.take(key, live.certificate)
        if idle is not None:
            self._send_on(idle)
        else:
            self._later(self._dial, key)

    def _make_anew(self, live: Live, target: Target, injection: Injection) -> bool:
        """Make what is of this request alone, for each try anew. False: it can't be, which has been answered."""
        services = self._services
        if injection.anew is None:
            return True
        fresh = services.entropy(ENTROPY)
        # What is random differs with each try, for a signature's sake; the UUID tells that it is the same request.
        self._entropy = fresh[: ENTROPY // 2] + (self._entropy or fresh)[ENTROPY // 2 :]
        made = made_anew(
            self.head,
            target,
            live,
            injection,
            injection.anew,
            drop=self._route.drop,
            body=self._gathered,
            now=services.clock(),
            random=self._entropy,
        )
        if isinstance(made, Refusal):
            self._refuse(made)
            return False
        self._made = made
        if self._gathered is not None:
            self._body = made.body if made.body is not None else b""
        if made.secrets:
            self._live = replace(live, scrubber=live.scrubber.joined(made.secrets))
        return True

    async def _dial(self, key: PoolKey) -> None:
        certificate = self._live.certificate if self._live is not None else None
        connection = await self._services.pool.connect(key, certificate)
        if self._ended:
            connection.close()
        else:
            self._send_on(connection)

    def _send_on(self, connection: UpstreamConnection) -> None:
        live, target, head = self._live, self._target, self.head
        if live is None or target is None or live.injection is None:
            connection.close()
            return
        self._upstream = connection
        upgrade, content, body = None, self.content, self._body
        if head.shape.upgrade_at:
            self._upgrading = self._caller.upgrade_offered(head)
            upgrade = head.upgrade if self._upgrading else None
        out = outgoing_head(
            head,
            target,
            live,
            live.injection,
            self._made,
            drop=self._route.drop,
            body=body,
            upgrade=upgrade,
            via=self._services.via + self._added,
        )
        now = self._services.time()
        self._preparing += now - self._mark
        self._mark = now
        connection.ask(self, method=head.method, head=out, cookies=live.cookies)
        if self._caller.write_paused:
            connection.pause_reading()  # said while there was no connection yet: of the answer before this one
        self._caller.awaiting_answer()
        if body is not None:
            connection.begin_content(chunked=False)
            connection.write_content(body)
            connection.end_content()
        elif content is not None:
            if not live.refreshable and live.retry is None:
                content.keep_at_most(_LOST_AT_MOST)
            connection.begin_content(chunked=head.content_length is None)
            content.flow_to(connection)

    # Answer: what upstream tells us.

    def response_informed(self, head: ResponseHead) -> None:
        """Pass on a 1xx."""
        if self._live is None or self.head.version != "1.1":
            return
        if head.status != 100 or self._body is None:  # noqa: PLR2004 - 100 Continue, which we have said ourselves
            self._caller.write(informational_bytes(head, self._live))

    def response_received(self, head: ResponseHead | None, content: list[bytes], *, ended: bool) -> None:
        """Take what has come of the answer."""
        if head is not None:
            self._response_begun(head)
        if self._ended:
            return
        size = sum(map(len, content))
        self._received += size
        relay = self._relay
        if relay is not None:
            self._caller.relay(relay.take(content, ended=ended), size)
        elif self._held is not None and not self._held.add(content) and self._upstream is not None:
            self._upstream.pause_reading()
        if ended:
            self._response_ended()

    def _response_begun(self, head: ResponseHead) -> None:
        live, status = self._live, head.status
        if live is None:
            return
        now = self._services.time()
        self._waited += now - self._mark
        self._mark = now
        if live.limits is not None:
            self._heed(head, live, live.limits)
        if live.retry is not None and self._hold_for_retry(head, live, live.retry):
            return
        if status == _UNAUTHORIZED and live.refreshable:
            if not self._replayed:
                self._see_to_token(head, live)
                return
            self._services.vault.refused_again(live)
        elif status == _PROXY_AUTHENTICATION_REQUIRED:
            detail = "The target asked the gateway to authenticate as to a proxy (407)."
            self._refuse(Refusal(code="upstream_protocol", detail=detail))
            return
        self._relay_head(head)

    def _response_ended(self) -> None:
        connection, self._upstream = self._upstream, None
        if connection is not None:
            connection.release()
        if self._relay is not None:
            self._end(status=self._status, code="", keep_alive=not self._relay.close and self.whole)

    def response_failed(self, why: str, *, answered: bool) -> None:
        """Handle an upstream that is gone before its answer was complete."""
        connection, self._upstream = self._upstream, None
        if self._ended:
            return
        if self._held is not None:
            self._held.cut_off = True
        elif self._relay is not None:
            self._cut()
        elif connection is not None and connection.used and not answered and self._may_retry():
            self._retried = True
            if self.content is not None:
                self.content.hold()
            self._send()
        else:
            host = self._target.host if self._target is not None else "the target"
            refusal = Refusal(code="upstream_protocol", detail=f"{host} gave no valid answer: {why}.")
            if answered or not self._retry_failure(refusal):
                self._refuse(refusal)

    def switched(self, head: ResponseHead, early: bytes) -> None:
        """Join the two sides after a 101, if we asked for one."""
        connection = self._upstream
        if connection is None or self._live is None:
            return
        upgrade = head.upgrade or b""
        # RFC 9110 §7.8: to what was offered, and not before it has the whole request.
        if not self._upgrading or not self.whole or not takes_up(upgrade, self.head.upgrade):
            self.response_failed("it switched protocols unasked", answered=True)
            connection.close()
            return
        upgrade = self._live.scrubber.text(upgrade)
        said = scrubbed_head(head, self._live)
        self._caller.write(b"%bConnection: Upgrade\r\nUpgrade: %b\r\n\r\n" % (said, upgrade))
        self._log(101, "")
        self._caller.join(connection, early, self)

    def upstream_paused(self) -> None:
        """Let the caller wait: upstream takes no more content for now."""
        self._caller.pause_reading()

    def upstream_resumed(self) -> None:
        """Let the caller go on."""
        self._caller.resume_reading()

    # What the caller's side tells us.

    @property
    def client(self) -> str:
        """The client's name, once admitted."""
        return self._client

    @property
    def whole(self) -> bool:
        """Whether the caller has sent all of the request."""
        return self.content is None or self.content.complete

    def withdraw(self) -> None:
        """End what may not go on."""
        self.reject(not_permitted(self._route.tag))

    def caller_paused(self) -> None:
        """Let upstream wait: the caller takes no more for now."""
        if self._upstream is not None:
            self._upstream.pause_reading()

    def caller_resumed(self) -> None:
        """Let upstream go on."""
        if self._upstream is not None:
            self._upstream.resume_reading()

    def caller_gone(self) -> None:
        """End everything: nobody waits for the answer any more."""
        if not self._ended:
            self._log(499, "caller_gone")
            self._finish()

    def reject(self, refusal: Refusal) -> None:
        """End the exchange because of what came behind the head: broken framing, or nothing for too long."""
        if self._ended:
            return
        if self._relay is not None:
            self._cut(refusal.code)
        else:
            self._refuse(refusal, keep_alive=False)

    # Inside.

    def _see_to_token(self, head: ResponseHead, live: Live) -> None:
        """A 401 with a token that can be refreshed: hold it back, refresh once, replay once (design.md, "Tokens")."""
        at_hand = self.content is None or self._body is not None or self.content.replayable
        if not at_hand:
            self._replayed = True
            self._services.background(self._replace_token(live))
            self._relay_head(head)
            return
        self._held = Held(head)
        if self.content is not None and self._body is None:
            self.content.hold()
        self._later(self._refresh_and_replay, live)

    async def _refresh_and_replay(self, live: Live) -> None:
        self._replayed = True
        fresh = await self._services.vault.after_401(live)
        held, self._held = self._held, None
        if self._ended or held is None:
            return
        if fresh is None:
            self._relay_held(held)
            return
        self._leave()
        self._begin_again(live)
        self._decide(fresh)  # the policy may have changed in between, too

    def _begin_again(self, live: Live) -> None:
        """Let go of a try that was made with `live`."""
        connection, self._upstream = self._upstream, None
        if connection is not None:
            connection.close()
        self._received = 0
        if live.injection is not None and live.injection.secrets not in self._sent:
            self._sent += (live.injection.secrets,)
        made, self._made = self._made, None
        if made is not None and made.secrets:
            self._sent += (made.secrets,)

    def _heed(self, head: ResponseHead, live: Live, limits: Limits) -> None:
        """Leave the service alone for as long as it asks for."""
        services = self._services
        seconds = pause_asked(head, services.clock(), limits.reset_field)
        if seconds is not None:
            services.limiter.pause(limits, live.connection_id, live.app, seconds)

    def _hold_for_retry(self, head: ResponseHead, live: Live, retry: Retry) -> bool:
        """Hold an answer back that another try may better. False: it goes through."""
        if head.status not in retry.statuses:
            return False
        now = self._services.clock()
        reset = live.limits.reset_field if live.limits is not None else None
        asked = pause_asked(head, now, reset) or retry_after(head, now) or 0.0
        if not self._try_later(live, retry, asked, None):
            return False
        self._held = Held(head)
        return True

    def _retry_failure(self, refusal: Refusal) -> bool:
        """Try again where upstream wasn't reached. False: that is the answer."""
        live = self._live
        if live is None or live.retry is None or self._held is not None or refusal.code not in _OUT_OF_REACH:
            return False
        return refusal.status in live.retry.statuses and self._try_later(live, live.retry, 0.0, refusal)

    def _try_later(self, live: Live, retry: Retry, asked: float, failure: Refusal | None) -> bool:
        """Try once more after a while, if the request may be repeated and can be."""
        head, override = self.head, self.head.method_override
        if head.method not in retry.methods or (override is not None and override not in retry.methods):
            return False
        at_hand = self.content is None or self._body is not None or self.content.replayable
        if self._ended or not at_hand or head.upgrade is not None:
            return False
        seconds = retry.delay(tried=self._tries, asked=asked, chance=self._services.chance())
        if seconds is None:
            return False
        if self.content is not None and self._body is None:
            self.content.hold()
        self._later(self._try_again, live, seconds, failure)
        return True

    async def _try_again(self, live: Live, seconds: float, failure: Refusal | None) -> None:
        """Try again, if there is a turn for that; else what the last try came to is the answer."""
        self._tries += 1
        self._services.metrics.retried()
        self._caller.preparing()
        self._leave()  # others go on meanwhile
        await asyncio.sleep(seconds)
        turn = None if live.limits is None else await self._wait_to_enter(live, live.limits)
        held, self._held = self._held, None
        if self._ended:
            return
        if not self.permitted():
            self.withdraw()
        elif not isinstance(turn, Refusal):
            self._begin_again(live)
            self._decide_anew()
        elif held is not None:
            self._relay_held(held)
        elif failure is not None:
            self._refuse(failure)

    async def _replace_token(self, live: Live) -> None:
        """Get a new token though nobody tries it for now: whether it helped isn't known, and it counts as if it hadn't.

        Else whoever has a service that says 401 could have a token asked for at every request.
        """
        vault = self._services.vault
        standing = vault.peek(live.connection_id)
        if standing is not None and standing.token_version > live.token_version:
            return  # the next request has a newer one
        try:
            fresh = await vault.after_401(live)
        except GatewayError as error:
            code, detail = error.refusal.code, error.refusal.detail
            told = {"request_id": self.request_id, "connection": live.connection_id}
            _logger.info("token.not_replaced", **told, code=code, detail=detail)
            return
        if fresh is not None:
            vault.refused_again(live)

    def _relay_held(self, held: Held) -> None:
        self._relay_head(held.head)
        if self._relay is None:
            return
        ended = self._upstream is None and not held.cut_off
        self._caller.relay(self._relay.take(held.pieces, ended=ended), held.size)
        if held.cut_off:
            self._cut()
        elif ended:
            self._response_ended()
        elif self._upstream is not None and not self._caller.write_paused:
            self._upstream.resume_reading()

    def _relay_head(self, response: ResponseHead) -> None:
        live, target = self._live, self._target
        if live is None or target is None:
            return
        if (
            live.scrub_body
            and response.content_length != 0
            and response.content_encoding.lower() not in {b"", b"identity"}
        ):
            detail = f"{target.host} compressed an answer that must be searched for secrets."
            self._refuse(Refusal(code="upstream_protocol", detail=detail))
            return
        if self._route.entrance == PATH and response.shape.location_at:
            rewrite_locations(response, target, live)
        self._status = response.status
        close = not self.whole or self._upgrading or not self._caller.keeps_alive(self.head)
        via = self._services.via
        if live.limits is not None and live.limits.reset_field is not None:
            via += retry_after_line(response, self._services.clock(), live.limits.reset_field)
        self._relay = Relay(response, self.head, live, via=via, close=close)

    def _may_retry(self) -> bool:
        """http-rules.md 11: once, when the method is idempotent or nothing was answered, and the content is at hand."""
        return not self._retried and (self.content is None or self._body is not None or self.content.replayable)

    def _refuse(self, refusal: Refusal, *, keep_alive: bool = True) -> None:
        if self._ended:
            return
        if self._route.entrance == PATH and refusal.code == "proxy_authentication_required":
            refusal = Refusal(code=refusal.code, detail=refusal.detail, hint=refusal.hint, status=_UNAUTHORIZED)
        keep_alive = keep_alive and self.whole and self.head.upgrade is None  # http-rules.md 2
        self._caller.refuse(refusal, self.request_id, head=self.head, keep_alive=keep_alive)
        self._end(status=refusal.status, code=refusal.code, keep_alive=keep_alive)

    def _cut(self, code: str = "upstream_protocol") -> None:
        """End an answer that has begun and can't be completed: a truncated one never ends cleanly."""
        self._log(self._status, code)
        self._finish()
        self._caller.abort()

    def _end(self, *, status: int, code: str, keep_alive: bool) -> None:
        self._log(status, code)
        self._finish()
        self._caller.exchange_ended(keep_alive=keep_alive and self.head.keep_alive)

    def _finish(self) -> None:
        """Let go of everything; from here on nothing reaches the caller."""
        self._ended = True
        if self.content is not None:
            self.content.stop()
        connection, self._upstream = self._upstream, None
        if connection is not None:
            connection.close()
        if self._permit is not None:
            self._leave()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    def _later(self, step: Callable[[*_Args], Coroutine[Any, Any, None]], *args: *_Args) -> None:
        self._task = asyncio.get_running_loop().create_task(self._guarded(step, *args))

    async def _guarded(self, step: Callable[[*_Args], Coroutine[Any, Any, None]], *args: *_Args) -> None:
        """Run a step that waits; what it raises on purpose is the answer. Whatever else it raises, there is one."""
        try:
            await step(*args)
        except GatewayError as error:
            if not self._retry_failure(error.refusal):
                self._refuse(error.refusal)
        except Exception as error:  # noqa: BLE001 - logged whole
            self.reject(Refusal(code="internal", detail="The gateway has a fault; its log says which."))
            self.fault(error)

    def fault(self, error: Exception) -> None:
        """Log a fault of ours with what whoever met it was given: the request's id."""
        _logger.error(
            "request.fault",
            request_id=self.request_id,
            connection=self._route.tag.connection_id,
            client=self._client,
            trace_id=self._trace_id(),
            exc_info=error,
        )

    def _log(self, status: int, code: str) -> None:
        services, target, live = self._services, self._target, self._live
        seconds = services.time() - self.began
        entrance = self._route.entrance
        services.metrics.request(
            code or "ok", status, seconds, entrance, preparing=self._preparing, upstream=self._waited
        )
        if self._untold:
            services.log.tally.turned_away(services.clock())
            return
        services.log.add(
            Entry(
                services.clock(),
                self.request_id,
                entrance,
                self._client,
                self._route.tag.connection_id,
                live.app if live is not None else "",
                self.head.method,
                target.origin.serialized if target is not None else "",
                shown_path(target.path) if target is not None else "",
                status,
                code,
                seconds,
                self.content.size if self.content is not None else 0,
                self._received,
                self._replayed,
                self._trace_id(),
            )
        )

    def _trace_id(self) -> str:
        """Return the trace that the caller says the request is a part of; empty: it says nothing."""
        value = self.head.traceparent if self.head.shape.traceparent_at >= 0 else None
        parent = read_traceparent(value) if value is not None else None
        return parent.trace_id if parent is not None else ""
