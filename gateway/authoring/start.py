"""The text that a new policy starts from: what can be known of any app with its grant, and what each part is for."""

import re
from collections.abc import Mapping

from gateway.authoring.spelling import spelled
from gateway.policy.model import Grant
from gateway.policy.template import Template, TemplateInvalid

_TOP = """\
# {app}.toml: where this app's credentials may go, how a connection gets them, and what is added to its calls.
# Facts and rules, and never a secret.
name = {name}
{base}
# Where its credentials may go. Nothing else is ever sent there: the narrowest URLs that do the work are best.
[allow]
urls = {urls}
"""
_BASE = "base_url = {base_url}  # what relative URLs start from, such as /me\n"
_PERSON = """
# What the person types in when connecting. What is secret is sealed and never shown again.
[[fields]]
name = "username"
label = "User name"
[[fields]]
name = "password"
label = "Password"
secret = true
"""
_CLIENT = """
# What the person types in when connecting: both come from the app's developer settings.
[[fields]]
name = "client_id"
label = "Client ID"
[[fields]]
name = "client_secret"
label = "Client secret"
secret = true
"""
_KEY = """
# What the person types in when connecting. It is sealed and never shown again.
[[fields]]
name = "api_key"
label = "API key"
secret = true
"""
_AUTH = """
# How a connection gets its credentials.
[auth]
grant = {grant}
"""
_SEALED = """\
client_id = {{ secret = "client_id" }}  # set in the pages or by the API, and sealed
"""
_SEALED_BOTH = (
    _SEALED
    + """\
client_secret = {{ secret = "client_secret" }}
"""
)
_TYPED = """\
client_id = {{ field = "client_id" }}  # each person's own
client_secret = {{ field = "client_secret" }}
"""
_LOGIN = """
# Where the person logs in and approves.
[auth.authorize]
url = ""  # such as https://service.com/oauth/authorize
scopes = []  # what is asked for; the fewest that do the work
"""
_DEVICE = """
# Where a person's code comes from, which they type in on the provider's own page.
[auth.device]
url = ""  # such as https://service.com/oauth/device
scopes = []  # what is asked for; the fewest that do the work
"""
_EXCHANGE = """
# Where tokens come from, and are renewed.
[auth.token]
url = ""  # such as https://service.com/oauth/token
"""
_LABEL = """
# How a connection is shown; a value of the test's answer says more, as in {{{{ test.name }}}}.
[connection]
label = {label}
"""
_BEARER = """
# Added to every call.
[inject.headers]
Authorization = "Bearer {{{{ {value} }}}}"
"""
_PARTS: Mapping[Grant, tuple[str, ...]] = {
    Grant.AUTHORIZATION_CODE: (_AUTH, _SEALED_BOTH, _LOGIN, _EXCHANGE, _LABEL, _BEARER),
    Grant.IMPLICIT: (_AUTH, _SEALED, _LOGIN, _LABEL, _BEARER),
    Grant.DEVICE_CODE: (_AUTH, _SEALED, _DEVICE, _EXCHANGE, _LABEL, _BEARER),
    Grant.PASSWORD: (_PERSON, _AUTH, _SEALED_BOTH, _EXCHANGE, _LABEL, _BEARER),
    Grant.CLIENT_CREDENTIALS: (_CLIENT, _AUTH, _TYPED, _EXCHANGE, _LABEL, _BEARER),
    Grant.API_KEY: (_KEY, _AUTH, _LABEL, _BEARER),
    Grant.BASIC: (_PERSON, _AUTH, _LABEL),
    Grant.NONE: (_AUTH, _LABEL),
}


GRANTS = tuple(_PARTS)
"""The grants that there is a beginning for."""


def scratch(app: str, name: str, grant: Grant, base_url: str) -> str:
    """Return a commented policy for an app, whose only faults are what none but its author can know.

    `base_url` may be empty. Whatever the arguments are, the text is TOML.
    """
    base_url = base_url.strip()
    parts = (_TOP, *_PARTS[grant])
    return "".join(parts).format(
        app=re.sub(r"[^a-z0-9_-]", "", app) or "policy",
        name=spelled(_line(name)),
        base=_BASE.format(base_url=spelled(base_url)) if base_url else "",
        urls=spelled([base_url.rstrip("/")] if base_url else []),
        grant=spelled(str(grant)),
        label=spelled(_label(_line(name))),
        value="access_token" if grant.has_token else "api_key",
    )


def _line(text: str) -> str:
    return " ".join(text.encode("utf-8", "replace").decode().split())


def _label(name: str) -> str:
    label = f"{name} ({{{{ connection.id }}}})"
    try:
        Template.parse(label)
    except TemplateInvalid:
        return "{{ connection.id }}"
    return label if "{" not in name else "{{ connection.id }}"
