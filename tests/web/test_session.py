"""Sessions and forms: what a cookie is worth, and that a form must come from a page of ours."""

import pytest

from gateway.secret import Secret
from gateway.web.session import LIFETIME, Session, Sessions, load_seed
from gateway.web.session import SEED as SEED_NAME
from gateway.web.signin import own_path
from tests.web.harness import ADMIN, form_token, running

SEED = Secret("the seed of these tests")


class Request:
    def __init__(self, **cookies):
        self.cookies = cookies


class Response:
    def __init__(self):
        self.cookies = {}

    def set_cookie(self, name, value, **how):
        self.cookies[name] = (value, how)

    def del_cookie(self, name, **how):
        self.cookies[name] = ("", how)


@pytest.fixture
def clock():
    return [1_000.0]


@pytest.fixture
def sessions(clock):
    return Sessions(Secret(ADMIN), seed=SEED, clock=lambda: clock[0], secure=False)


def cookie_of(sessions, session):
    response = Response()
    sessions.write(response, session)
    return response.cookies[sessions.cookie][0]


def test_a_session_is_read_back_from_its_cookie(sessions):
    session = sessions.begin(admin=True)
    assert sessions.read(Request(gateway=cookie_of(sessions, session))) == session


def test_a_visitor_cannot_write_itself_an_admins_cookie(sessions):
    cookie = cookie_of(sessions, sessions.begin(admin=False))
    assert sessions.read(Request(gateway="a" + cookie[1:])) is None


@pytest.mark.parametrize(
    "cookie", ["", "x", "a.b.c.d", "a." + "A" * 22 + ".99999999999." + "0" * 64, "\x00", "é" * 100]
)
def test_a_cookie_that_is_not_ours_is_no_session(sessions, cookie):
    assert sessions.read(Request(gateway=cookie)) is None


def test_a_session_ends_with_its_time_and_cannot_be_prolonged(sessions, clock):
    session = sessions.begin(admin=True)
    cookie = cookie_of(sessions, session)
    clock[0] += LIFETIME
    assert sessions.read(Request(gateway=cookie)) is None
    longer = cookie.replace(str(session.expires_at), str(session.expires_at + LIFETIME))
    assert sessions.read(Request(gateway=longer)) is None


def test_an_ended_session_stays_ended_for_whoever_copied_its_cookie(sessions):
    session = sessions.begin(admin=True)
    cookie = cookie_of(sessions, session)
    sessions.end(Response(), session)
    assert sessions.read(Request(gateway=cookie)) is None


def test_visitors_who_sign_out_by_the_thousand_dont_bring_an_ended_session_back(sessions):
    session = sessions.begin(admin=True)
    cookie = cookie_of(sessions, session)
    sessions.end(Response(), session)
    for _ in range(10_001):
        sessions.end(Response(), sessions.begin(admin=False))
    assert sessions.read(Request(gateway=cookie)) is None


def test_a_cookie_says_nothing_of_the_token_to_who_has_not_the_seed(sessions, clock):
    """Else a visitor could try tokens against its own cookie, by the million and without asking us."""
    cookie = cookie_of(sessions, sessions.begin(admin=False))
    guess = Sessions(Secret(ADMIN), seed=Secret("another seed"), clock=lambda: clock[0], secure=False)
    assert guess.read(Request(gateway=cookie)) is None


async def test_the_seed_is_the_stores_made_once_and_sealed(web):
    store, keyring = web.gateway.store, web.gateway.keyring
    seed = await load_seed(store, keyring)
    assert len(seed.reveal()) == 64
    assert (await load_seed(store, keyring)).reveal() == seed.reveal()
    assert seed.reveal().encode() not in await store.meta.get(SEED_NAME)


def test_another_admin_token_ends_every_session(sessions, clock):
    cookie = cookie_of(sessions, sessions.begin(admin=True))
    others = Sessions(Secret("gwa_another-admin-token"), seed=SEED, clock=lambda: clock[0], secure=False)
    assert others.read(Request(gateway=cookie)) is None


def test_a_form_token_is_its_sessions_alone_and_not_its_cookies_mac(sessions):
    mine, yours = sessions.begin(admin=False), sessions.begin(admin=False)
    assert sessions.is_form_token(mine, sessions.form_token(mine))
    assert not sessions.is_form_token(mine, sessions.form_token(yours))
    assert not sessions.is_form_token(mine, cookie_of(sessions, mine).rpartition(".")[2])
    assert not sessions.is_form_token(mine, "")
    assert not sessions.is_form_token(mine, "\udcff")


def test_cookies_are_hidden_from_scripts_lax_and_behind_https_secure(clock):
    response = Response()
    sessions = Sessions(Secret(ADMIN), seed=SEED, clock=lambda: clock[0], secure=True)
    sessions.write(response, Session(id="x", admin=True, expires_at=1))
    assert response.cookies["__Host-gateway"][1] == {"path": "/", "httponly": True, "samesite": "Lax", "secure": True}


@pytest.mark.parametrize(
    "text",
    [
        "//evil.test", "/\\evil.test", "/%09/evil.test", "https://evil.test", "/\t/evil.test", "evil.test", "",
        "/a//evil", "/.//evil.test", "/\u2028/evil", "/x?next=//evil", "/x\r\nLocation: //evil",
    ],
)  # fmt: skip
def test_a_path_that_could_leave_this_place_becomes_the_start_page(text):
    assert own_path(text) == "/"


@pytest.mark.parametrize("text", ["/", "/apps", "/apps/crm-1/edit.html"])
def test_a_path_of_ours_is_kept(text):
    assert own_path(text) == text


# On the wire.


async def sign_in(web, token=ADMIN, **more):
    page = await web.get("/sign-in")
    return await web.request("POST", "/sign-in", data={"form_token": form_token(page), "token": token} | more)


async def test_signing_in_begins_a_new_session_and_goes_on(web):
    before = await web.get("/sign-in")
    planted = before.cookies["gateway"]
    answer = await sign_in(web, next="/apps")
    assert (answer.status, answer.headers["Location"]) == (303, "/apps")
    assert "HttpOnly" in answer.cookies["gateway"]
    assert "SameSite=Lax" in answer.cookies["gateway"]
    assert planted.split(".")[1] not in answer.cookies["gateway"]
    assert (await web.get("/")).status == 200
    assert (await web.gateway.store.events.list()).items[0].kind == "admin.signed_in"


async def test_a_wrong_token_is_401_and_no_session(web):
    answer = await sign_in(web, token="gwa_wrong-token-entirely")
    assert answer.status == 401
    assert "This is not the admin token." in answer.text
    assert "gwa_wrong" not in answer.text
    assert (await web.get("/")).headers["Location"] == "/sign-in"


async def test_signing_in_does_not_send_the_browser_elsewhere(web):
    assert (await sign_in(web, next="//evil.test/")).headers["Location"] == "/"


async def test_signing_out_ends_the_session(web):
    await sign_in(web)
    page = await web.get("/")
    answer = await web.request("POST", "/sign-out", data={"form_token": form_token(page)})
    assert (answer.status, answer.headers["Location"]) == (303, "/sign-in")
    assert (await web.get("/")).status == 303


@pytest.mark.parametrize("path", ["/sign-in", "/sign-out", "/connect"])
@pytest.mark.parametrize("given", [{}, {"form_token": ""}, {"form_token": "0" * 64}])
async def test_a_form_without_its_token_is_refused(web, path, given):
    await sign_in(web)
    answer = await web.request("POST", path, data={"app": "crm", "token": ADMIN} | given)
    assert answer.status == 403
    assert "didn&#39;t come from a page" in answer.text
    assert web.gateway.vault.calls == []


async def test_a_form_that_another_site_sent_is_refused_even_with_its_token(web):
    await sign_in(web)
    token = form_token(await web.get("/"))
    for site in ("cross-site", "same-site"):
        answer = await web.request("POST", "/sign-out", data={"form_token": token}, headers={"Sec-Fetch-Site": site})
        assert answer.status == 403


@pytest.mark.parametrize(
    ("raw", "kind", "status"),
    [
        (b"a=\xff", "application/x-www-form-urlencoded", 400),
        (b"a=%ff", "application/x-www-form-urlencoded", 400),
        (b"nonsense", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a%d=1" % number for number in range(2_001)), "application/x-www-form-urlencoded", 400),
        (b"a=" + b"1" * 300_000, "application/x-www-form-urlencoded", 413),
        (b"{}", "application/json", 415),
        (b"", "multipart/form-data; boundary=x", 415),
        (b"a=1", "application/x-www-form-urlencoded; charset=nonsense", 403),
    ],
)
async def test_a_form_that_is_none_is_refused_and_never_a_fault_of_ours(web, raw, kind, status):
    answer = await web.request("POST", "/sign-in", data=raw, headers={"Content-Type": kind})
    assert (answer.status, answer.headers["Content-Type"]) == (status, "text/html; charset=utf-8")


async def test_behind_https_the_cookie_is_secure_and_browsers_are_told_to_stay(tmp_path):
    async with running(tmp_path, web={"listen": "127.0.0.1:0", "public_url": "https://gateway.example.com"}) as web:
        host, port = web.server.addresses[0]
        web.server._origin[0] = f"http://{host}:{port}"
        answer = await web.get("/sign-in")
    assert "Secure" in answer.cookies["__Host-gateway"]
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
