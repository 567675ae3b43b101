"""A person with a browser that has no scripts: plain HTTP, cookies, links and forms, by what the pages say."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx

from tests.e2e.harness.provider import Person

HOPS = 8


@dataclass
class Form:
    """One form: where it goes, how, what it would send, and the names of its submit buttons."""

    action: str
    method: str
    values: dict[str, str] = field(default_factory=dict)
    buttons: dict[str, str] = field(default_factory=dict)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: dict[str, str] = {}
        self.heading = ""
        self.copied: list[str] = []
        self._in_heading = False
        self._in_copy = False
        self._select = ""

    def handle_starttag(self, tag, attrs):
        known = {name: value or "" for name, value in attrs}
        name = known.get("name", "")
        if tag == "form":
            self.forms.append(Form(action=known.get("action", ""), method=known.get("method", "get").lower()))
        elif tag == "a":
            self.links[known.get("id", "")] = known.get("href", "")
        elif tag == "select":
            self._select = name
        elif tag == "option" and "selected" in known:
            self.forms[-1].values[self._select] = known["value"]
        elif tag == "input" and known.get("type") == "submit":
            self.forms[-1].buttons[name] = known.get("value", "")
        elif tag == "input":
            self.forms[-1].values[name] = known.get("value", "")
        self._in_heading = tag == "h1"
        self._in_copy = tag == "pre" or (self._in_copy and tag == "code")

    def handle_endtag(self, tag):
        self._in_heading = self._in_heading and tag != "h1"
        self._in_copy = self._in_copy and tag != "code"

    def handle_data(self, data):
        if self._in_heading:
            self.heading += data
        if self._in_copy:
            self.copied.append(data)


@dataclass(frozen=True, kw_only=True)
class Page:
    """What stands at the end of the redirects. `copied` are the texts that are there to be copied."""

    url: str
    status: int
    text: str
    headers: Mapping[str, str]
    forms: list[Form]
    links: dict[str, str]
    heading: str
    copied: list[str] = field(default_factory=list)


class Visitor:
    """One browser. `visited` is every URL that was asked for, and `pages` everything that was answered."""

    def __init__(self) -> None:
        self._client = httpx.Client(trust_env=False, timeout=30)
        self.visited: list[str] = []
        self.pages: list[bytes] = []

    def close(self) -> None:
        self._client.close()

    def get(self, url: str, *, follow: bool = True) -> Page:
        return self._send("GET", url, None, follow=follow)

    def submit(self, page: Page, button: str = "", *, follow: bool = True, **values: str) -> Page:
        """Send the page's last form, filled in, with one of its buttons; names of ours may leave out `field.`."""
        form = page.forms[-1]
        given = {name if name in form.values else f"field.{name}": value for name, value in values.items()}
        content = form.values | given | ({button: form.buttons[button]} if button else {})
        return self._send(form.method.upper(), urljoin(page.url, form.action), content, follow=follow)

    def _send(self, method: str, url: str, form: Mapping[str, str] | None, *, follow: bool) -> Page:
        for _ in range(HOPS):
            self.visited.append(url)
            headers = {"Origin": "{0.scheme}://{0.netloc}".format(urlsplit(url))} if method == "POST" else {}
            answer = self._client.request(method, url, data=form, headers=headers)
            self.pages.append(str(answer.headers).encode() + answer.content)
            if not follow or not answer.is_redirect:
                break
            method, form, url = "GET", None, urljoin(url, answer.headers["Location"])
        reader = _Reader()
        reader.feed(answer.text)
        return Page(
            url=url,
            status=answer.status_code,
            text=answer.text,
            headers=answer.headers,
            forms=reader.forms,
            links=reader.links,
            heading=reader.heading,
            copied=reader.copied,
        )

    def leave(self, link: str, **fields: str) -> str:
        """Open a connect link, send its form, and return the provider's login URL that the next page leads to."""
        page = self.submit(self.get(link), **fields)
        return page.links["continue"]

    def sign_in(self, login_url: str, person: Person) -> Page:
        """Go through the provider's login page; returns its consent page."""
        page = self.sign_in_only(login_url, person)
        assert "Application requires the following permissions" in page.text, page.text
        return page

    def sign_in_only(self, login_url: str, person: Person) -> Page:
        """Go through the provider's login page; returns whatever comes next."""
        return self.submit(self.get(login_url), username=person.username, password=person.password)

    def type_in(self, code: str, where: str, person: Person, *, action: str = "accept") -> Page:
        """Sign in where a code is to be typed in, do that, and accept it there (or deny it); returns the last page."""
        confirm = self.submit(self.sign_in_only(where, person), user_code=code)
        return self._send("POST", confirm.url, confirm.forms[-1].values | {"action": action}, follow=True)

    def allow(self, consent: Page, *, follow: bool = True) -> Page:
        return self.submit(consent, "allow", follow=follow)

    def connect(self, link: str, person: Person, **fields: str) -> Page:
        """Do all of it, as somebody whom the provider doesn't know yet."""
        return self.allow(self.sign_in(self.leave(link, **fields), person))


def query_of(url: str) -> dict[str, str]:
    """Return the parameters of a URL."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def secrets_in(urls: Iterator[str] | list[str]) -> set[str]:
    """Return every state and code that stands in these URLs."""
    return {value for url in urls for name, value in query_of(url).items() if name in ("state", "code")}
