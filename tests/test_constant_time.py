"""No secret is compared by `==`: it is looked up by its hash, or goes through `hmac.compare_digest`."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent / "gateway"
SECRET = re.compile(
    r"(?:^|_)(?:token|secret|mac|digest|hexdigest|password|signature|verifier|challenge|state|nonce|session|reveal)s?$"
    r"|_hash$|^hash_of$"
)
# Each with its reason: nobody learns anything by the time that it takes.
HARMLESS = {
    ("cli/demo/steps.py", "tokens[0] != tokens[1]"): "both are the demonstration's own",
    ("proxy/entrances.py", "tag.token != token"): "what a caller showed before, on its own connection",
    ("store/app_secrets.py", "app_secrets.c.app == app"): "the table of that name, and an id in it",
    ("store/app_secrets.py", "app_secrets.c.name == name"): "as above",
    ("store/links.py", "connect_links.c.token_hash == token_hash"): "a look-up by hash, in the database",
    ("store/login_states.py", "login_states.c.state_hash == state_hash"): "a look-up by hash, in the database",
    ("store/login_states.py", "login_states.c.state_hash == row.state_hash"): "as above",
    ("store/login_states.py", "login_states.c.created_at == row.created_at"): "a time",
    ("oauth/oauth1.py", "params.get(_TOKEN) != token.token"): "it stands in the login URL, which the browser shows",
    ("vault/credentials.py", "answer.refresh_token != self.refresh_token"): "both come from the provider",
    ("web/link.py", "self.outcome.session != hash_of(session).hex()"): "hashes of 128 random bits",
    ("web/login.py", "row.session_hash != hash_of(session)"): "hashes of 128 random bits",
    ("web/tail.py", "listener.session == session"): "counted for whoever has shown the session's cookie, whole",
    ("web/render.py", "session != sessions.read(request)"): "both were read from, or made for, one request",
}


def comparisons(source: str) -> list[str]:
    """Return each `==` or `!=` that has a name of a secret on one of its sides."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Compare):
            continue
        sides = [node.left, *node.comparators]
        for operator, *both in zip(node.ops, sides, sides[1:], strict=False):
            if not isinstance(operator, ast.Eq | ast.NotEq) or any(isinstance(one, ast.Constant) for one in both):
                continue
            names = [
                part.id if isinstance(part, ast.Name) else part.attr
                for side in both
                for part in ast.walk(side)
                if isinstance(part, ast.Name | ast.Attribute)
            ]
            if any(SECRET.search(name) for name in names):
                found.append(ast.unparse(node))
    return found


def test_no_secret_is_compared_in_a_time_that_tells_how_much_of_it_is_right():
    found = {
        (file.relative_to(ROOT).as_posix(), text)
        for file in ROOT.rglob("*.py")
        for text in comparisons(file.read_text(encoding="utf-8"))
    }
    assert found - set(HARMLESS) == set(), "use hmac.compare_digest, or look it up by its hash"
    assert set(HARMLESS) - found == set(), "this is no more: take it out of the list"


def test_the_search_finds_one():
    for bad in (
        "if token == given: pass",
        "ok = given != self._token.reveal()",
        "ok = request.headers['X'] == client.token_hash",
        "ok = mac(session) == match[4]",
        "ok = hashlib.sha256(a).hexdigest() == b",
    ):
        assert comparisons(bad), bad
    assert comparisons("if kind == 'token': pass") == []


def test_what_is_compared_all_the_same_goes_through_compare_digest():
    """The admin token, a session's MAC, a form's token."""
    for file, count in (("admin/dispatch.py", 1), ("web/session.py", 3)):
        assert (ROOT / file).read_text(encoding="utf-8").count("hmac.compare_digest(") == count, file
