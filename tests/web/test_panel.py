"""Which URL a recipe calls: one that this connection allows, with the values of its own fields."""

import pytest

from gateway.store.rows import Status
from gateway.web.panel import NOWHERE, example, fingerprint
from tests.web.harness import FakeAuthority, running

DESK = """
name = "Desk"
base_url = "https://{{ sub }}.example.com/api"
[allow]
urls = ["https://{{ sub }}.example.com/api", "https://files.example.com/v2"]
[[fields]]
name = "sub"
required = true
[[fields]]
name = "extra"
required = false
[auth]
grant = "none"
"""


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("", "https://acme.example.com/api"),
        ('[test]\nurl = "/me?full=1"', "https://acme.example.com/api/me?full=1"),
        ('[test]\nurl = "/me"\nmethod = "POST"', "https://acme.example.com/api"),
        ('[test]\nurl = "/me/{{ extra }}"', "https://acme.example.com/api"),
    ],
    ids=["its base", "its test", "a test that changes something", "a test with a value that is missing"],
)
async def test_the_first_url_that_may_be_called_is_the_example(tmp_path, more, expected):
    async with running(tmp_path, real_vault=True) as web:
        await desk(web, "")
        await desk(web, more)
        assert await example(web.gateway, "desk-1") == expected


async def test_what_is_denied_is_no_example(tmp_path):
    async with running(tmp_path, real_vault=True) as web:
        await desk(web, "")
        denied = DESK.replace("[[fields]]", 'deny = ["https://{{ sub }}.example.com/api"]\n[[fields]]', 1)
        await desk(web, "", policy=denied)
        assert await example(web.gateway, "desk-1") == "https://files.example.com/v2"


@pytest.mark.parametrize("status", [Status.NEEDS_REAUTHORIZATION, Status.DISCONNECTED])
async def test_a_connection_that_can_not_be_used_just_now_has_an_example_all_the_same(tmp_path, status):
    async with running(tmp_path, real_vault=True) as web:
        await desk(web, "")
        await web.gateway.store.connections.update("desk-1", status=status)
        web.gateway.vault.forget("connection", "desk-1")
        assert await example(web.gateway, "desk-1") == "https://acme.example.com/api"


async def test_without_its_policy_there_is_no_example(web):
    assert await example(web.gateway, "nothing") == NOWHERE


def test_the_fingerprint_is_the_certificates_sha256():
    # printf AAAA | base64 -d | sha256sum
    assert fingerprint(FakeAuthority().certificate_pem).startswith("70:9E:80:C8:84:87:A2:41:1E:1E:E4:DF:B9:F2:2A:86")


async def desk(web, more: str, *, policy: str = DESK) -> None:
    """Write the policy, and connect where nobody has."""
    assert web.gateway.catalog.write("desk", policy + more) == ()
    web.gateway.vault.forget("policy", "desk")
    if await web.gateway.store.connections.get("desk-1") is None:
        sent = {"app": "desk", "id": "desk-1", "fields": {"sub": "acme"}, "secrets": {}}
        assert (await web.api("POST", "/connections", json=sent)).status == 201
