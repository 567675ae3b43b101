"""What is said of a request that nobody has sent."""

from typing import Any

from gateway.policy.request import ENTROPY
from gateway.vault import explaining
from gateway.vault.live import Live
from tests.proxy.harness import make_live

NOW = 1_795_688_100.0

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


SIGNED = POLICY.replace(
    "[limits.app]\nconcurrency = 4\n",
    """X-Time = "{{ request.iso }} {{ request.host }}"
X-Key = "{{ (api_key ~ ':' ~ request.time) | b64encode }}"
[inject.defaults]
Content-Type = "application/json"
X-Version = "2"
X-Request-Id = "{{ request.uuid }}"
[inject.query]
sig = "{{ signature }}"
[sign]
scheme = "hmac"
key = "{{ api_key }}"
text = "{{ request.url }}"
""",
)
AWS4 = """[sign]
scheme = "aws4"
service = "s3"
region = "us-east-1"
access_key_id = "AKID"
secret_access_key = "{{ api_key }}"
"""


def explain(live: Live, method: str, url: str) -> dict[str, Any]:
    return explaining.explain(live, method, url, now=NOW, random=bytes(ENTROPY))


def test_what_the_policy_lets_through_is_said_of_what_is_allowed() -> None:
    said = explain(make_live(POLICY), "GET", "https://api.test/")
    assert said["limits"] == "4 under way at a time for the app; doesn't wait"
    assert explain(make_live(POLICY), "GET", "https://evil.test/")["limits"] is None


def test_what_is_made_for_each_request_is_shown_as_for_this_one_and_no_signature_or_key_in_it() -> None:
    said = explain(make_live(SIGNED), "POST", "https://api.test/v1")["inject"]
    assert said == {
        "headers": {
            "Authorization": "Bearer ***",
            "X-Time": "20261126T101500Z api.test",
            "X-Key": "***",
        },
        "defaults": {"X-Version": "2", "X-Request-Id": "00000000-0000-4000-8000-000000000000"},
        "query": {"sig": "***"},
        "body": {},
    }


def test_of_a_header_that_a_scheme_writes_the_scheme_is_shown() -> None:
    policy = POLICY.replace('[inject.headers]\nAuthorization = "Bearer {{ api_key }}"\n', AWS4)
    said = explain(make_live(policy), "GET", "https://api.test/v1")["inject"]["headers"]
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert said == {
        "Authorization": "AWS4-HMAC-SHA256 ***",
        "X-Amz-Date": "20261126T101500Z",
        "X-Amz-Content-Sha256": empty,
    }


def test_what_can_not_be_made_denies_it() -> None:
    live = make_live(POLICY.replace("Bearer {{ api_key }}", "{{ request.method }}"))
    said = explain(live, "GE\nT", "https://api.test/v1")
    assert (said["allowed"], said["upstream_url"]) == (False, None)
