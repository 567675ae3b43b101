"""The certificate that runners fetch before they can do anything else."""

from tests.web.harness import FakeAuthority


async def test_whoever_asks_gets_the_certificate_as_a_file_and_no_cookie(web):
    answer = await web.get("/ca.pem")

    assert answer.status == 200
    assert answer.text.encode() == FakeAuthority().certificate_pem
    assert answer.headers["Content-Type"] == "application/pem-certificate-chain"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="gateway-ca.pem"'
    assert answer.cookies == {}


async def test_the_store_is_asked_for_it_once(web):
    """Anybody may ask, as often as they like."""
    asked = []

    async def authority() -> FakeAuthority:
        asked.append(1)
        return FakeAuthority()

    web.gateway.authority = authority
    for _ in range(3):
        await web.get("/ca.pem")
    assert asked == [1]


async def test_a_wrong_method_is_answered_as_to_a_program(web):
    answer = await web.request("POST", "/ca.pem")

    assert (answer.status, answer.headers["Content-Type"]) == (405, "application/problem+json")
