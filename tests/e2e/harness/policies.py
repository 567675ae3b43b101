"""The policies of the apps that the tests connect to, for one provider and one upstream."""

from tests.e2e.harness.provider import Provider
from tests.e2e.harness.upstream import Upstream

CLIENT_CREDENTIALS = """
[[fields]]
name = "client_id"
required = true
[[fields]]
name = "client_secret"
secret = true
required = true
[auth]
grant = "client_credentials"
client_id = {{ field = "client_id" }}
client_secret = {{ field = "client_secret" }}
[auth.token]
url = "{token_url}"
client_auth = "basic"
[auth.revoke]
url = "{revoke_url}"
token = "access_token"
[connection]
label = "{label} {{{{ client_id }}}}"
unique_id = "{{{{ client_id }}}}"
[inject.headers]
Authorization = "Bearer {{{{ access_token }}}}"
"""


def _client_credentials(provider: Provider, label: str) -> str:
    return CLIENT_CREDENTIALS.format(token_url=provider.token_url, revoke_url=provider.revoke_url, label=label)


def orders(provider: Provider, upstream: Upstream) -> str:
    """An app of client credentials on both of the upstream's ports."""
    return f"""
name = "Orders"
base_url = "{upstream.https}/v1"
[allow]
urls = ["{upstream.http}", "{upstream.https}"]
deny = ["{upstream.http}/v1/admin"]
""" + _client_credentials(provider, "Orders")


def vaulted(provider: Provider, upstream: Upstream) -> str:
    """An app that is allowed as https only, and below one path."""
    return f"""
name = "Vaulted"
base_url = "{upstream.https}/v1/vaulted"
[allow]
urls = ["{upstream.https}/v1/vaulted"]
methods = ["GET", "POST"]
""" + _client_credentials(provider, "Vaulted")


def keyed(upstream: Upstream) -> str:
    """An app whose key goes into a header, the query and the body."""
    return f"""
name = "Keyed"
base_url = "{upstream.http}/open"
[allow]
urls = ["{upstream.http}/open"]
[[fields]]
name = "api_key"
secret = true
required = true
[auth]
grant = "api_key"
[inject.headers]
X-Service-Key = "{{{{ api_key }}}}"
[inject.query]
key = "{{{{ api_key }}}}"
[inject.body]
version = "v2"
"""


def public(upstream: Upstream) -> str:
    """An app that needs no credential, only the rules."""
    return f"""
name = "Public"
base_url = "{upstream.http}/open"
[allow]
urls = ["{upstream.http}", "{upstream.https}"]
[auth]
grant = "none"
"""


def inner() -> str:
    """An app in a private network and at the metadata address, which the guard refuses whatever a policy says."""
    return """
name = "Inner"
[allow]
urls = ["http://10.1.2.3", "http://169.254.169.254"]
[auth]
grant = "none"
"""


def loop(*ports: int) -> str:
    """An app that is the gateway itself."""
    return f"""
name = "Loop"
[allow]
urls = {[f"http://127.0.0.1:{port}" for port in ports]}
[auth]
grant = "none"
"""


def all_of(provider: Provider, upstream: Upstream) -> dict[str, str]:
    """Return every policy by app."""
    return {
        "orders": orders(provider, upstream),
        "vaulted": vaulted(provider, upstream),
        "keyed": keyed(upstream),
        "public": public(upstream),
        "inner": inner(),
    }
