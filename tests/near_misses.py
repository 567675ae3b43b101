"""URLs that nearly are an allowed one: what an attacker tries, in every combination, and what a client gets wrong.

Random text hardly ever has a host, so it shows little; here each part is mostly right, and now and then it isn't.
"""

from hypothesis import strategies as st

_HOSTS = """
OK.Test ok.test. a.ok.test pub.ok.test PUB.ok.test. 192.0.2.1 [2001:db8::1] [2001:DB8:0::1]
notok.test ok.test.evil ok%2etest ok。test ｏｋ.test xn--ok.test ok..test -ok.test ok_.test
127.1 0x7f.1 2130706433 0300.0.2.1 192.0.2.1. 192.0.513 [::ffff:192.0.2.1] [2001:db8::1%25x]
[ok.test] evil%23.ok.test evil;ok.test faß.ok.test
"""  # noqa: RUF001 - the fullwidth letters are the vector
_PORTS = ":443 :8080 :8080 :80 :0443 :0 :65536 : :４４３ :8080:80 :-1 :+80"  # noqa: RUF001 - the fullwidth digits
_SEGMENTS = """
pub pub admin Admin %61dmin ADM%49N admin;x admin%3bx v1%2fadmin admin%2f %2561dmin
users x a;b x%2ejson ... .well-known https: % %zz %ff %c0%ae a%0d%0ab ä
.. . %2e%2e %2E. ..; ..;x=1 %252e%252e %25252e %2f %2F.. %5c \\ %00
"""
_QUERIES = "a=b key=1 %6bey=2&a KEY[]=3;key=4 x=../.. a#b a\\b ? u=https://ok.test/"
_SLIPS = "@ # ? / // \\ . : ; % %2f %2e %00 ß \u200b \u3002 evil [ ]"

SCHEMES = ("https", "https", "http", "HTTP", "ftp", "https:", "ws")
USERINFO = ("",) * 8 + ("u@", "u:p@", "evil\\@", "evil#@", "ok.test@", "ok.test:443@", "%40")
HOSTS = ("ok.test",) * 6 + ("", "ok.test\t.evil", "a" * 64 + ".ok.test", *_HOSTS.split())
PORTS = ("",) * 5 + tuple(_PORTS.split())
SEGMENTS = ("v1",) * 5 + ("", "a b", *_SEGMENTS.split())
QUERIES = (None, None, "", *_QUERIES.split())
SLIPS = ("\t", "\r\n", " ", "\0", *_SLIPS.split())

AUTHORITIES = st.tuples(st.sampled_from(USERINFO), st.sampled_from(HOSTS), st.sampled_from(PORTS)).map("".join)
PATHS = st.tuples(st.lists(st.sampled_from(SEGMENTS), max_size=4), st.sampled_from(QUERIES)).map(
    lambda parts: "".join(f"/{one}" for one in parts[0]) + ("" if parts[1] is None else f"?{parts[1]}")
)


def slipped(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """These texts, some of them with one or two slips in any place."""
    slips = st.lists(st.tuples(st.integers(0, 60), st.sampled_from(SLIPS)), max_size=2)
    return st.builds(_slip, texts, st.one_of(st.just([]), slips))


def _slip(text: str, slips: list[tuple[int, str]]) -> str:
    for at, slip in slips:
        text = text[:at] + slip + text[at:]
    return text


URLS = slipped(st.tuples(st.sampled_from(SCHEMES), st.just("://"), AUTHORITIES, PATHS).map("".join))
