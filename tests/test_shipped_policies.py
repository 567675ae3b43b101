"""The policies that come with the gateway: each loads without a finding, and all say the same thing in the same way."""

import importlib.util
import re
from collections import defaultdict
from functools import cache
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

from gateway.policy.context import Consumer, Context
from gateway.policy.inject import render
from gateway.policy.load import load
from gateway.policy.model import FieldSource, Grant, Policy, SecretSource
from gateway.policy.template import Template
from gateway.secret import Secret
from tests.shipped import FILES

DOCS = Path(__file__).parent.parent / "docs"
PROMISED = frozenset(
    {
        "github",
        "google",
        "slack",
        "microsoft",
        "hubspot",
        "salesforce",
        "notion",
        "stripe",
        "openai",
        "anthropic",
        "twilio",
        "jira",
    }
)
ALIKE = frozenset({"slack", "slack-user"})
"""Apps with the same hosts and grant: one service as a bot and as a person, whose tokens are different ones."""
CONFIDENTIAL = re.compile(
    r"(?:.*_)?(?:password|passphrase|secret|token|api_key|access_key|app_key|user_key|private_key)"
)
SPELLED = {
    "Api key": "API key",
    "API Key": "API key",
    "API Token": "API token",
    "Access Token": "Access token",
    "Client Id": "Client ID",
    "Email": "E-mail address",
    "Email address": "E-mail address",
    "Username": "User name",
}


@cache
def shipped() -> dict[str, Policy]:
    """Return the loaded policies by app; what the checks find fails the test with their own words."""
    loaded = {file.stem: load(file.read_text(), app=file.stem, file=file.name) for file in FILES}
    findings = [finding for each in loaded.values() for finding in each.findings]
    assert not findings, "\n".join(f"{each.file}: {each.path}: {each.message}" for each in findings)
    return {app: each.policy for app, each in loaded.items() if each.policy is not None}


@cache
def texts() -> dict[str, str]:
    """Return their files' texts by app."""
    return {file.stem: file.read_text() for file in FILES}


def sections(policy: Policy) -> list[str]:
    """Return every URL that the gateway itself calls, or sends a person to."""
    auth = policy.auth
    logins = (auth.request_token, auth.authorize, auth.device, auth.token, auth.exchange, auth.refresh, auth.revoke)
    urls = [policy.base_url, *(each.url for each in (*logins, policy.lookup, policy.test) if each is not None)]
    return [url for url in urls if url is not None]


def servers(policy: Policy) -> tuple[str, ...]:
    """Return how a URL begins that is on a server which the person, or an answer, names."""
    return tuple(f"{{{{ {field.name} }}}}" for field in policy.fields if field.kind == "url")


def test_the_promised_apps_are_there() -> None:
    """At least a hundred apps, the twelve of the README among them."""
    assert shipped().keys() >= PROMISED
    assert len(shipped()) >= 100


def test_every_kind_of_authentication_has_an_app_to_copy_from() -> None:
    """Whoever writes a policy finds one with the same grant."""
    assert {policy.auth.grant for policy in shipped().values()} == set(Grant)


def test_the_examples_show_both_sides() -> None:
    """One thing that works, one that doesn't, and a lookalike host among those that don't."""
    for app, policy in shipped().items():
        refused = [urlsplit(each.url).hostname or "" for each in policy.examples if not each.allowed]
        assert any(each.allowed for each in policy.examples), app
        assert any(host.endswith(".evil.test") for host in refused), app


def test_they_are_narrow() -> None:
    """Every allowed URL is one https origin, or the server that the person names: no whole domain, no wildcard."""
    for app, policy in shipped().items():
        for entry in policy.allow.urls:
            assert entry.startswith(("https://", *(f"{server}/" for server in servers(policy)))), app
            assert "*" not in entry, app


def test_credentials_go_out_over_https_alone() -> None:
    """The login, token, revocation and test URLs are https, on the person's own server, or relative to such a URL."""
    for app, policy in shipped().items():
        assert all(url.startswith(("https://", "/", *servers(policy))) for url in sections(policy)), app


def test_a_file_is_called_as_its_app_is() -> None:
    """`gateway connect cal-com` connects Cal.com; what stands in brackets behind a name has a word of its own."""
    for app, policy in shipped().items():
        name, brackets, _ = policy.name.partition(" (")
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        assert app.startswith(f"{slug}-") if brackets else app == slug


def test_each_begins_with_what_it_is_and_where_that_is_written() -> None:
    """A comment with a link to the provider's documentation."""
    for app, text in texts().items():
        comment = text.partition("\nname = ")[0].splitlines()
        assert all(line.startswith("# ") for line in comment), app
        assert any("https://" in line for line in comment), app


def test_each_has_a_test_call_or_says_why_not() -> None:
    """A connection whose key is wrong is seen when it is made."""
    for app, policy in shipped().items():
        assert (policy.test is None) is ("# No [test]: " in texts()[app]), app


def test_a_connection_has_a_name_and_is_known_again() -> None:
    """Whoever sees a list can tell connections apart; the same account twice is one, where the API says whose it is."""
    for app, policy in shipped().items():
        label = f'label = "{policy.connection.label}"'
        line = next((line for line in texts()[app].splitlines() if line.startswith(label)), None)
        assert line is not None, app
        says_why = "connection.id" in line or "#" in line or policy.auth.grant is Grant.NONE
        assert policy.connection.unique_id is not None or says_why, app


def test_they_hold_no_secret() -> None:
    """What the provider gave in confidence is named, never written, and by the same names everywhere."""
    for app, policy in shipped().items():
        kinds = set()
        for name in ("client_id", "client_secret"):
            source = getattr(policy.auth, name)
            if source is not None:
                assert source in (SecretSource(secret=name), FieldSource(field=name)), app
                kinds.add(type(source))
        assert len(kinds) <= 1, app


def test_what_is_confidential_is_a_secret_field() -> None:
    """A password, a key or a token is never shown again, and nothing else is hidden from who typed it."""
    for app, policy in shipped().items():
        for field in policy.fields:
            assert field.secret is (CONFIDENTIAL.fullmatch(field.name) is not None), (app, field.name)


def test_the_same_thing_has_the_same_name() -> None:
    """A server that the person names is `server`, its host alone `host`; labels and help are alike."""
    for app, policy in shipped().items():
        for field in policy.fields:
            asked = field.source is None
            assert (field.name == "server") is (field.kind == "url" and asked), (app, field.name)
            assert field.name != "host" or field.kind == "host" or field.choices, (app, field.name)
            assert not asked or field.kind not in ("url", "host") or field.example or field.default, (app, field.name)
            assert not field.suffix or field.suffix.startswith("."), (app, field.name)
            assert SPELLED.get(field.label, field.label) == field.label, (app, field.name)
            assert field.label[:1].isupper(), (app, field.name)
            assert not field.help or field.help.endswith((".", "/token")), (app, field.name)


def test_each_scope_is_said_in_a_persons_words() -> None:
    """Who signs in reads what programs may do then."""
    for app, policy in shipped().items():
        if policy.auth.authorize is not None:
            assert set(policy.auth.authorize.scopes) == set(policy.auth.authorize.scope_words), app


def test_a_login_without_pkce_says_why() -> None:
    """It protects the code wherever the provider knows it."""
    for app, text in texts().items():
        lines = [line for line in text.splitlines() if line.startswith("pkce = ")]
        assert all(re.search(r" # \S", line) for line in lines), app


def test_the_credential_goes_out() -> None:
    """What was connected is in every request: the token, the key, or the password; or it signs the request."""
    for app, policy in shipped().items():
        fields = {each.name: Secret("typed-in-secret") if each.secret else "typed-in" for each in policy.fields}
        if policy.auth.grant is Grant.OAUTH1:
            token = {"oauth_token": "the-token", "oauth_token_secret": "its-secret"}
            signing = render(policy, Context(token=token, consumer=Consumer("key", Secret("the-consumer-secret"))))
            assert {"its-secret", "the-consumer-secret"} <= {each.reveal() for each in signing.secrets}, app
            continue
        if policy.sign is not None:
            keys = (policy.sign.key, policy.sign.secret_access_key, policy.sign.consumer_secret)
            signed = {path[-1] for key in keys if isinstance(key, str) for path in Template.parse(key).paths}
            assert signed, app
            assert all(isinstance(fields[name], Secret) for name in signed), app
            continue
        context = Context(fields=fields, token={"access_token": Secret("the-access-token")}, test={}, connection_id="c")
        secrets = {each.reveal() for each in render(policy, context).secrets}
        credential = "the-access-token" if policy.auth.grant.has_token else "typed-in-secret"
        assert (credential in secrets) is (policy.auth.grant is not Grant.NONE), app


def test_no_two_say_the_same() -> None:
    """One app for one service: the same hosts with the same grant are one policy, or there is a reason."""
    found: defaultdict[object, set[str]] = defaultdict(set)
    for app, policy in shipped().items():
        if not servers(policy):
            choices = frozenset(field.choices for field in policy.fields)
            found[policy.auth.grant, frozenset(policy.allow.urls), choices].add(app)
    assert [names for names in found.values() if len(names) > 1] == [ALIKE]


def test_the_page_of_apps_is_as_the_policies_are() -> None:
    """`docs/apps.md` is made from them; `python docs/apps.py` makes it anew."""
    assert (DOCS / "apps.md").read_text() == _generator().page()


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("apps_page", DOCS / "apps.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
