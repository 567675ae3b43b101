"""The simplest app there is: an API key, and a service on this machine that is given it."""

POLICY = """
name = "Keyed"
base_url = "http://127.0.0.1:{port}/v1"
[allow]
urls = ["http://127.0.0.1:{port}"]
[[fields]]
name = "api_key"
secret = true
[auth]
grant = "api_key"
[inject.headers]
Authorization = "Bearer {{{{ api_key }}}}"
"""
