"""What a program is given so that it goes through the gateway."""

from pathlib import Path

from gateway.cli.environment import bundle_pem, program_environment

BUNDLES = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "AWS_CA_BUNDLE",
    "PIP_CERT",
    "HTTPLIB2_CA_CERTS",
    "NIX_SSL_CERT_FILE",
)


def given(**surroundings: str) -> dict[str, str]:
    return program_environment(
        surroundings, proxy="http://p", no_proxy="localhost", bundle=Path("/b.pem"), certificate=Path("/c.pem")
    )


def test_every_variable_that_programs_read_is_set() -> None:
    found = given(PATH="/bin")
    assert {found[name] for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")} == {"http://p"}
    assert {found[name] for name in BUNDLES} == {"/b.pem"}
    assert found["NODE_EXTRA_CA_CERTS"] == "/c.pem"
    assert found["NODE_USE_ENV_PROXY"] == "1"
    assert found["NO_PROXY"] == found["no_proxy"] == "localhost"
    assert found["PATH"] == "/bin"


def test_what_the_surroundings_say_of_proxies_does_not_hold() -> None:
    found = given(HTTP_PROXY="http://corp", NO_PROXY="api.example.com", ALL_PROXY="socks5://corp", all_proxy="x")
    assert found["HTTP_PROXY"] == "http://p"
    assert found["NO_PROXY"] == "localhost"
    assert not {"ALL_PROXY", "all_proxy"} & set(found)


def test_what_is_the_gateways_own_stays_behind() -> None:
    ours = {"GATEWAY_ADMIN_TOKEN": "a", "gateway_store__url": "b", "GATEWAY_CONFIG": "c", "KMS_KEY": "d"}
    found = program_environment(
        ours | {"GATE": "e"}, proxy="p", no_proxy="", bundle=Path("b"), certificate=Path("c"), withheld={"KMS_KEY"}
    )
    assert not ours.keys() & found.keys()
    assert found["GATE"] == "e"


def test_the_bundle_holds_the_roots_and_ours(tmp_path: Path) -> None:
    (tmp_path / "roots.pem").write_bytes(b"ROOTS\n\n")
    assert bundle_pem(b"OURS\n", [tmp_path / "none.pem", tmp_path / "roots.pem"]) == b"ROOTS\nOURS\n"
    assert bundle_pem(b"OURS\n", []) == b"OURS\n"
