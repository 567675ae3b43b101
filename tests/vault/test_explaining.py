"""What is said of a request that nobody has sent."""

from gateway.vault.explaining import explain
from tests.proxy.harness import make_live

POLICY = """
name = "CRM"
[allow]
urls = ["https://api.test"]
[[fields]]
name = "api_key"
secret = true
[auth]
grant = "api_key"
[inject.headers]
Authorization = "Bearer {{ api_key }}"
[limits.app]
concurrency = 4
"""


def test_what_the_policy_lets_through_is_said_of_what_is_allowed() -> None:
    said = explain(make_live(POLICY), "GET", "https://api.test/")
    assert said["limits"] == "4 under way at a time for the app; doesn't wait"
    assert explain(make_live(POLICY), "GET", "https://evil.test/")["limits"] is None
