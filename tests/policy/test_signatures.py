"""The two schemes that write their own headers, against what their publishers say comes of it."""

import hashlib

import pytest
from oauthlib.oauth1 import Client

from gateway.http.target import parse_target
from gateway.policy.aws4 import Aws4
from gateway.policy.context import Context
from gateway.policy.header import InjectionInvalid
from gateway.policy.model import Policy
from gateway.policy.oauth1 import OAuth1
from gateway.policy.request import RequestValues
from gateway.policy.sign import SignInvalid, signer

S3 = Aws4(
    service="s3",
    region="us-east-1",
    access_key_id="AKIAIOSFODNN7EXAMPLE",
    secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    session_token=None,
)
EXAMPLE = Aws4(
    service="iam",
    region="us-east-1",
    access_key_id="AKIDEXAMPLE",
    secret_access_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    session_token="tok/en=",
)
MAY_2013, AUGUST_2015 = 1_369_353_600.0, 1_440_938_160.0


def request(url: str, *, now: float, method: str = "GET", body: bytes = b"") -> RequestValues:
    return RequestValues(method=method, target=parse_target(url), body=body, now=now, random=bytes(32))


@pytest.mark.parametrize(
    ("query", "signature"),
    [
        ("?lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("?max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ],
)
def test_aws_s_own_examples_come_out_as_it_says(query: str, signature: str) -> None:
    """The examples of "Authenticating Requests: Using the Authorization Header" in S3's reference."""
    asked = request(f"https://examplebucket.s3.amazonaws.com/{query}", now=MAY_2013)
    fields, made = S3.fields(asked, [])
    assert made == signature
    assert dict(fields)[b"Authorization"].decode() == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        f"SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}"
    )


def test_aws_s_own_example_of_a_derived_key() -> None:
    assert EXAMPLE._key("20150830").hex() == "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"


def test_every_field_of_aws_s_is_signed_and_the_session_s_token_is_one() -> None:
    fields, _ = EXAMPLE.fields(
        request("https://iam.amazonaws.com/", now=AUGUST_2015, method="POST", body=b"a=1"),
        [(b"X-AMZ-Target", b" a   b "), (b"x-amz-target", b"c"), (b"X_Amz_Other", b"d"), (b"Accept", b"*/*")],
    )
    said = dict(fields)
    assert (
        b"SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token;x-amz-target,"
        in said[b"Authorization"]
    )
    assert said[b"X-Amz-Date"] == b"20150830T123600Z"
    assert said[b"X-Amz-Security-Token"] == b"tok/en="
    assert said[b"X-Amz-Content-Sha256"] == hashlib.sha256(b"a=1").hexdigest().encode()


@pytest.mark.parametrize(
    ("service", "one", "other", "same"),
    [
        ("s3", "/a%7eb", "/a~b", True),
        ("s3", "/a//b", "/a/b", False),
        ("iam", "/a//b", "/a/b", True),
        ("iam", "/a%20b", "/a%2520b", False),
        ("iam", "/?b=1&a=2", "/?a=2&b=1", True),
        ("iam", "/?a=2&a=1&c", "/?a=1&c=&a=2", True),
        ("iam", "/?a=b+c", "/?a=b%20c", True),
        ("iam", "/?a=%7E", "/?a=~", True),
        ("iam", "/?a=b", "/?A=b", False),
    ],
)
def test_a_path_and_a_query_are_signed_as_aws_reads_them(service: str, one: str, other: str, *, same: bool) -> None:
    by = Aws4(service=service, region="r", access_key_id="a", secret_access_key="s", session_token=None)
    made = [by.fields(request(f"https://ok.test{path}", now=AUGUST_2015), [])[1] for path in (one, other)]
    assert (made[0] == made[1]) is same


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
@pytest.mark.parametrize("token", [None, "to ken"])
@pytest.mark.parametrize("body", [b"", b"c%40=&a3=2+q&c2"])
def test_oauth_1_is_signed_as_oauthlib_s_client_signs_it(algorithm: str, token: str | None, body: bytes) -> None:
    url = "HTTP://EXAMPLE.com:80/request?b5=%3D%253D&a3=a&c%40=&a2=r%20b"
    secret = "t&s" if token else None
    by = OAuth1(
        algorithm="sha1" if algorithm == "sha1" else "sha256",
        consumer_key="9djdj82h48djs9d2",
        consumer_secret="j49sk3j29djd",
        token=token,
        token_secret=secret,
        realm="Example",
    )
    asked = request(url, now=137_131_201.0, method="POST", body=body)
    kind = "application/x-www-form-urlencoded"
    (mine,), _ = by.fields(asked, [(b"Content-Type", kind.encode())])
    client = Client(
        "9djdj82h48djs9d2",
        client_secret="j49sk3j29djd",
        resource_owner_key=token,
        resource_owner_secret=secret,
        signature_method=f"HMAC-{algorithm.upper()}",
        realm="Example",
        nonce="0" * 32,
        timestamp="137131201",
    )
    headers = {"Content-Type": kind} if body else {}
    _, theirs, _ = client.sign(url, "POST", body.decode() or None, headers)
    assert mine[0] == b"Authorization"
    assert sorted(mine[1].decode()[6:].split(", ")) == sorted(theirs["Authorization"][6:].split(", "))


def test_oauth_1_signs_no_endless_list_of_parameters() -> None:
    """A form of a megabyte would take seconds, in which nobody else is served."""
    by = OAuth1(algorithm="sha1", consumer_key="c", consumer_secret="s", token=None, token_secret=None, realm=None)
    form = [(b"Content-Type", b"application/x-www-form-urlencoded")]
    by.fields(request("https://ok.test/?x", now=1.0, method="POST", body=b"a&" * 1_999), form)
    for url, body in (("https://ok.test/", b"a&" * 500_000), (f"https://ok.test/?{'a&' * 1_000}", b"a&" * 1_000)):
        with pytest.raises(InjectionInvalid, match="at most 2000 parameters"):
            by.fields(request(url, now=1.0, method="POST", body=body), form)


def test_a_query_that_is_no_clean_form_is_signed_all_the_same() -> None:
    by = OAuth1(algorithm="sha1", consumer_key="c", consumer_secret="s", token=None, token_secret=None, realm=None)
    made = [
        by.fields(request(f"https://ok.test/?{query}", now=1.0), [])[1]
        for query in ("filter[a]=1|2&x", "filter%5Ba%5D=1%7C2&x=")
    ]
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("sign", "why"),
    [
        ({"scheme": "oauth1", "consumer_key": "a", "consumer_secret": "{{ x }}", "realm": 'a"b'}, "quotation mark"),
        ({"scheme": "oauth1", "consumer_key": "a\r\nb", "consumer_secret": "{{ x }}"}, "sign.consumer_key has control"),
        (
            {
                "scheme": "aws4",
                "service": "a",
                "region": "b\n",
                "access_key_id": "c",
                "secret_access_key": "{{ x }}",
            },
            "sign.region has control",
        ),
    ],
)
def test_a_value_that_would_break_a_header_is_refused(sign: dict[str, str], why: str) -> None:
    policy = Policy.model_validate(
        {"name": "X", "allow": {"urls": ["ok.test"]}, "auth": {"grant": "api_key"}, "sign": sign}
    )
    assert policy.sign is not None
    with pytest.raises(SignInvalid, match=why):
        signer(policy, policy.sign, Context(fields={"x": "secret"}))
