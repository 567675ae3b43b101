"""URLs that nearly are an allowed one: what an attacker tries, in every combination, and what a client gets wrong.

Random text hardly ever has a host, so it shows little. Here each begins as one that is allowed (`tests/fuzz/targets.py`
has the policy), and then differs from it in one or two places.
"""

from hypothesis import strategies as st

_HOSTS = """
OK.Test ok.test. a.ok.test pub.ok.test PUB.ok.test. 192.0.2.1 [2001:db8::1] [2001:DB8:0::1]
notok.test ok.test.evil ok%2etest ok。test ｏｋ.test xn--ok.test ok..test -ok.test ok_.test
127.1 0x7f.1 2130706433 0300.0.2.1 192.0.2.1. 192.0.513 [::ffff:192.0.2.1] [::ffff:192.0.2.1%x] [2001:db8::1%25x]
[ok.test] evil%23.ok.test evil;ok.test faß.ok.test
"""  # noqa: RUF001 - the fullwidth letters are the vector
_PORTS = ":443 :8080 :80 :0443 :0 :65536 : :４４３ :8080:80 :-1 :+80"  # noqa: RUF001 - the fullwidth digits
_SEGMENTS = """
pub admin Admin %61dmin ADM%49N admin;x admin%3bx v1%2fadmin admin%2f %2561dmin v1x V1 v1. v1;x gwc_right
x a;b x%2ejson ... .well-known https: % %zz %ff %c0%ae a%0d%0ab ä https://ok.test https:/ok.test
.. . %2e%2e %2E. ..; ..;x=1 %252e%252e %25252e %2f %2F.. %5c \\ %00
"""
_QUERIES = "a=b key=1 %6bey=2&a KEY[]=3;key=4 x=../.. a#b a\\b ? u=https://ok.test/ gwc_right"
_SLIPS = "@ # ? / // \\ . : ; % %2f %2e %00 ß \u200b \u3002 evil [ ]"

SCHEMES = ("http", "HTTP", "HTTPS", "ftp", "https:", "ws")
USERINFO = ("u@", "u:p@", "evil\\@", "evil#@", "ok.test@", "ok.test:443@", "%40")
HOSTS = ("", "ok.test\t.evil", "a" * 64 + ".ok.test", *_HOSTS.split())
PORTS = ("", *_PORTS.split())
SEGMENTS = ("", "a b", *_SEGMENTS.split())
QUERIES = ("", *_QUERIES.split())
SLIPS = ("\t", "\r\n", " ", "\0", *_SLIPS.split())

Parts = tuple[str, str, str, str, tuple[str, ...], str]
"""Scheme, userinfo, host, port, segments of the path, and the query with its mark."""
BASES: tuple[Parts, ...] = (
    ("https", "", "ok.test", "", ("v1", "users"), ""),
    ("https", "", "ok.test", "", ("v1",), "?x=1"),
    ("https", "", "ok.test", "", ("v1", "admin", "x"), ""),
    ("http", "", "ok.test", "", ("v1", "admin"), "?x"),
    ("http", "", "ok.test", ":8080", ("x",), ""),
    ("http", "", "ok.test", ":8080", (), ""),
    ("https", "", "a.b.ok.test", "", ("pub", "y"), ""),
    ("https", "", "pub.ok.test", "", ("pub", "x"), ""),
    ("https", "", "[2001:db8::1]", "", ("x",), ""),
    ("http", "", "192.0.2.1", "", ("x", "y"), ""),
)


def _other(place: int, values: tuple[str, ...]) -> st.SearchStrategy[tuple[int, int, str]]:
    return st.tuples(st.just(place), st.integers(0, 12), st.sampled_from(values))


_RESPELLED = 5
_SLIPPED = 6
_DIFFERENCES = st.one_of(
    _other(0, SCHEMES),
    _other(1, USERINFO),
    _other(2, HOSTS),
    _other(3, PORTS),
    _other(4, SEGMENTS),
    _other(4, SEGMENTS),
    _other(_RESPELLED, ("%%%02x", "%%%02X", "%%25%02x", "up", ";x", "/")),
    _other(_RESPELLED, ("%%%02x", "%%25%02x", "up", ";x")),
    _other(7, QUERIES),
    _other(_SLIPPED, SLIPS),
)


def _differing(base: Parts, differences: list[tuple[int, int, str]]) -> str:
    parts: list[str] = [*base[:4], "".join(f"/{segment}" for segment in base[4]), base[5]]
    slips = []
    for place, at, value in differences:
        if place == 4:
            segments = parts[4].split("/")[1:]
            number, instead = divmod(at, 2)
            number %= len(segments) + 1
            parts[4] = "".join(f"/{one}" for one in (*segments[:number], value, *segments[number + instead :]))
        elif place == _RESPELLED:
            parts[4] = _respelled(parts[4], at, value)
        elif place == _SLIPPED:
            slips.append((at, value))
        elif place == 7:
            parts[5] = f"?{value}"
        else:
            parts[place] = value
    text = f"{parts[0]}://{''.join(parts[1:])}"
    for at, slip in slips:
        text = text[: at * 3] + slip + text[at * 3 :]
    return text


def _respelled(path: str, at: int, how: str) -> str:
    """It with one character spelled in another way, or with something behind a segment."""
    if len(path) < 2:
        return path
    at = 1 + at % (len(path) - 1)
    if how in (";x", "/"):
        end = path.find("/", at)
        return f"{path}{how}" if end < 0 else f"{path[:end]}{how}{path[end:]}"
    return path[:at] + (path[at].upper() if how == "up" else how % ord(path[at])) + path[at + 1 :]


def near(bases: tuple[Parts, ...]) -> st.SearchStrategy[str]:
    """URLs that differ from these in up to two places."""
    return st.builds(_differing, st.sampled_from(bases), st.lists(_DIFFERENCES, max_size=2))


URLS = near(BASES)
AUTHORITIES = URLS.map(lambda url: url.partition("://")[2].partition("/")[0])
PATHS = URLS.map(lambda url: "/" + url.partition("://")[2].partition("/")[2])


def slipped(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """These texts, half of them with a slip in any place."""
    return texts | st.builds(
        lambda text, at, slip: text[:at] + slip + text[at:], texts, st.integers(0, 60), st.sampled_from(SLIPS)
    )
