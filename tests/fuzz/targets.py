"""A target, whatever text it is: it leads where two other readers of URLs would go, as it came, or it is refused.

The first byte says what the text is read as.
"""

import re
from urllib.parse import unquote, urlsplit

from gateway.errors import Refusal
from gateway.http.request import read_request_head
from gateway.http.target import Target, TargetInvalid, canonical_host, parse_authority, parse_origin_form, parse_target
from gateway.policy.entry import EntryInvalid, EntryTemplate
from gateway.policy.match import Allowed, Matcher
from gateway.policy.url import UrlInvalid, UrlTemplate
from gateway.proxy.entrances import Inside, Tag, route_request

_ALLOWED = (
    "https://ok.test/v1",
    "http://ok.test:8080",
    "https://*.ok.test/pub/",
    "https://[2001:db8::1]",
    "http://192.0.2.1",
)
_DENIED = ("https://ok.test/v1/admin", "pub.ok.test/pub/x")
MATCHER = Matcher(
    [EntryTemplate.parse(text).render(None) for text in _ALLOWED],  # type: ignore[arg-type]
    [EntryTemplate.parse(text, deny=True).render(None) for text in _DENIED],  # type: ignore[arg-type]
    None,
    None,
)
_DENIED_AT = {
    "https://ok.test": "/v1/admin",
    **{
        f"{scheme}://pub.ok.test{port}": "/pub/x"
        for scheme in ("http", "https")
        for port in ("", ":8080", ":443", ":80")
    },
}
_TOKEN = "gwc_right"
_INSIDE = Inside(Tag(connection_id="crm-ann", token=None), parse_target("https://ok.test").origin)


def check(data: bytes) -> None:
    """Hold what becomes of a text against how others read it."""
    text = data[1:].decode("utf-8", "surrogateescape")
    _MODES[data[0] % len(_MODES) if data else 0](text)


def _absolute(text: str) -> None:
    try:
        target = parse_target(text)
    except TargetInvalid:
        return
    check_target(target, text)


def _path_style(text: str) -> None:
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return
    fields = [(b"Host", b"g"), (b"Authorization", b"Bearer " + _TOKEN.encode())]
    head = read_request_head(
        method="GET", raw_target=b"/c/crm-ann" + raw, version="1.1", keep_alive=True, fields=fields
    )
    route = route_request(head, None, None)
    if isinstance(route, Refusal):
        return
    assert route.tag.token == _TOKEN
    assert route.tag.connection_id == "crm-ann" + re.match(r"[^/?]*", text)[0]  # type: ignore[index]
    assert b"authorization" in route.drop
    rest = text[text.find("/") :] if "/" in text.partition("?")[0] else text[len(text.partition("?")[0]) :]
    if route.target is None:
        assert route.relative == rest
        assert _TOKEN not in rest
        return
    assert _TOKEN not in route.target.url
    inside = re.fullmatch(r"/(https?):/{1,2}([^/].*)", rest, re.IGNORECASE | re.DOTALL)
    assert inside is not None, rest
    check_target(route.target, f"{inside[1]}://{inside[2]}")


def _inside(text: str) -> None:
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return
    head = read_request_head(
        method="GET", raw_target=raw, version="1.1", keep_alive=True, fields=[(b"Host", b"ok.test")]
    )
    route = route_request(head, _INSIDE, None)
    if isinstance(route, Refusal):
        return
    assert route.target is not None
    assert route.target.origin == _INSIDE.origin
    check_target(route.target, text if not text.startswith("/") else f"https://ok.test{text}")


def _authority(text: str) -> None:
    try:
        host, port = parse_authority(text)
    except TargetInvalid:
        return
    again = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    assert parse_authority(again) == (host, port)
    target = parse_target(f"https://{text}/")
    assert (target.host, target.port) == (host, port)
    check_target(target, f"https://{text}/")


def _origin_form(text: str) -> None:
    origin = _INSIDE.origin
    try:
        target = parse_origin_form(text, origin)
    except TargetInvalid:
        return
    assert target.origin == origin
    assert target == parse_target(origin.serialized + text)
    check_target(target, origin.serialized + text)


def _host(text: str) -> None:
    try:
        host = canonical_host(text)
    except TargetInvalid:
        return
    written = f"[{host}]" if ":" in host else host
    assert canonical_host(written) == host
    if text.startswith("[") == text.endswith("]"):
        check_target(parse_target(f"http://{text}/"), f"http://{text}/")


def _policy_url(text: str) -> None:
    try:
        url = UrlTemplate.parse(text, relative=True)
    except UrlInvalid:
        return
    if not url.paths and not url.is_relative:
        check_target(parse_target(url.render(None)), text)  # type: ignore[arg-type]
    else:
        assert url.sample.host or url.is_relative


def _entry(text: str) -> None:
    try:
        template = EntryTemplate.parse(text)
        if template.url.paths:
            return
        entry = template.render(None)  # type: ignore[arg-type]
    except (EntryInvalid, UrlInvalid):
        return
    plain = f"{entry.schemes[0]}://x.{entry.host}:{entry.port}{entry.path}/" if entry.below else None
    assert entry.schemes in (("http",), ("https",))
    again = EntryTemplate.parse(entry.shown).render(None)  # type: ignore[arg-type]
    for name in ("schemes", "host", "port", "path", "itself", "below"):
        assert getattr(again, name) == getattr(entry, name), (entry.shown, name)
    if plain is not None and len(entry.host) < 250:
        assert isinstance(Matcher([entry], [], None, None).decide("GET", parse_target(plain)), Allowed), text


def check_target(target: Target, text: str) -> None:
    """The target is canonical, its path is the text's own, and its host is the one that others would connect to."""
    assert parse_target(target.url) == target
    assert target.url.isascii()
    assert target.url.isprintable()
    assert not set(target.url) & set(" \\#")
    plain = urlsplit(text)
    assert plain.scheme == target.scheme
    assert plain.username is None
    assert plain.password is None
    assert _same_host(plain.hostname or "", target.host), (plain.hostname, target.host)
    assert (plain.port or {"http": 80, "https": 443}[target.scheme]) == target.port
    assert _same_host(_as_browsers_read(text), target.host), text
    assert (text.split("://", 1)[1].partition("/")[2] or "x").endswith(target.path_and_query[1:]) or plain.path == ""
    tail = target.path_and_query
    assert text.endswith(tail) or (plain.path == "" and text.endswith(tail.removeprefix("/"))), (text, tail)
    decision = MATCHER.decide("GET", target)
    sent = _may_be_sent(target)
    # Denied is also what only the most forgiving servers take for a denied path: a blank or a dot at a name's end,
    # what looks like its letters. No plain path is denied for that.
    assert sent is not None or not isinstance(decision, Allowed), (target.url, decision)
    assert sent is None or isinstance(decision, Allowed) or not _PLAIN.fullmatch(target.path), (target.url, decision)
    if isinstance(decision, Allowed):
        assert str(decision.target.origin) == sent
        assert decision.target.path_and_query == target.path_and_query


_PLAIN = re.compile(r"(?:/(?:[\w~-]+(?:\.[\w~-]+)*)?)*", re.ASCII)


def _may_be_sent(target: Target) -> str | None:
    """The origin to which the request goes by the policy's words, with `http` taken for `https`; None: it is denied."""
    origin = str(target.origin)
    secure = f"https{origin[4:]}".removesuffix(":443") if origin.startswith("http:") else origin
    for one in dict.fromkeys((origin, secure)):
        if _is_denied(one, target.path):
            return None
        if _is_covered(one, target.path):
            return one
    return None


def _is_covered(origin: str, path: str) -> bool:
    if origin in ("http://ok.test:8080", "https://[2001:db8::1]", "http://192.0.2.1"):
        return True
    if origin == "https://ok.test":
        return path == "/v1" or path.startswith("/v1/")
    below = re.fullmatch(r"https://[a-z0-9._-]+\.ok\.test", origin) is not None
    return below and (path == "/pub" or path.startswith("/pub/"))


def _is_denied(origin: str, path: str) -> bool:
    denied = _DENIED_AT.get(origin)
    return denied is not None and any(f"{one}/".startswith(f"{denied}/") for one in _readings(path))


def _readings(path: str) -> list[str]:
    """The paths that servers make of one: decoded so many times, with and without parameters and empty segments."""
    readings = []
    for _ in range(6):
        for one in (path, re.sub(r";[^/]*", "", path)):
            readings += [one.lower(), re.sub(r"/+", "/", one).lower()]
        path = unquote(path, errors="replace")
    return readings


def _same_host(text: str, host: str) -> bool:
    """Whether a reader that repairs nothing means the same: letters in any case, one dot behind the name."""
    text = text.lower().removesuffix(".")
    if ":" in host:
        return canonical_host(f"[{text.strip('[]')}]") == host
    return text == host


def _as_browsers_read(text: str) -> str:
    """The host as WHATWG's URL parser finds it, up to IDNA: no blanks, a backslash as `/`, the last `@`, %-decoded."""
    text = re.sub(r"[\t\n\r]", "", text.strip("".join(map(chr, range(33)))))
    rest = re.sub(r"^[A-Za-z][A-Za-z0-9+.-]*:[/\\]*", "", text)
    authority = re.split(r"[/\\?#]", rest, maxsplit=1)[0].rpartition("@")[2]
    host = authority if authority.endswith("]") else re.sub(r":[0-9]*$", "", authority)
    host = unquote(host)
    parts = host.removesuffix(".").split(".")
    if re.fullmatch(r"[0-9]+|0[xX][0-9A-Fa-f]*", parts[-1]):
        return _as_number(parts)
    return host


def _as_number(parts: list[str]) -> str:
    numbers = []
    for part in parts:
        if re.fullmatch(r"0[xX][0-9A-Fa-f]*", part):
            numbers.append(int(part[2:] or "0", 16))
        elif re.fullmatch(r"0[0-7]*", part):
            numbers.append(int(part, 8))
        elif re.fullmatch(r"[1-9][0-9]*", part):
            numbers.append(int(part))
        else:
            return "not an address"
    if len(numbers) > 4 or any(number > 255 for number in numbers[:-1]):
        return "not an address"
    value = numbers[-1] + sum(number << 8 * (3 - at) for at, number in enumerate(numbers[:-1]))
    return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0))


_MODES = (_absolute, _path_style, _inside, _authority, _origin_form, _host, _policy_url, _entry)
SEEDS = (
    b"\0https://ok.test/v1/a?b=c",
    b"\0http://OK.test.:8080/a%2Fb",
    b"\0https://a.b.ok.test/pub/x;y",
    b"\0https://ok.test/v1/Admin%2f;x",
    b"\4/v1/Admin.",
    b"\0http://u:p@ok.test\\@evil/",
    b"\0http://[2001:db8::1]/",
    b"\0http://0x7f.1/",
    b"\1/https://ok.test/v1/a",
    b"\1/HTTP:/ok.test:8080/a?b",
    b"\1/users/1?x",
    b"\2/v1/a",
    b"\2https://ok.test/v1/%2e%2e/",
    b"\3ok.test:443",
    b"\3[::ffff:1.2.3.4]:8443",
    b"\4/v1//a/..;/b",
    b"\5a-b.c_d.example.",
    b"\6https://{{ region }}.example.com/{{ team }}/x?y={{ z }}",
    b"\6/me",
    b"\7*.example.com",
    b"\7https://*.example.com:8443/v1/",
    b"\7192.0.2.1",
)
