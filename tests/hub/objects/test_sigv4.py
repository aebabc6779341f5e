"""Signatures: every request that boto3 makes is taken, every one that was changed on its way is not."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlsplit

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st

from hub.objects import sigv4
from hub.objects.sigv4 import Credentials, Refusal, Request, SignatureError, Target

KEY, SECRET = "AKIAHUBDEMO", "demo-secret"
ODD = ["plain", "a b", "grün", "%7E~%", "a/b", "//a//", "..", "a/../b", "'()*!", "日本", "+&=?#", ".", "x" * 256]


class Captured:
    """The requests that a client of boto3 would send."""

    def __init__(self, endpoint: str, service: str, **more: Any) -> None:
        config = Config(retries={"total_max_attempts": 1})
        self.client: Any = boto3.client(
            service,
            endpoint_url=endpoint,
            region_name="eu-central-1",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            config=config,
            **more,
        )
        self.requests: list[tuple[Request, bytes]] = []
        self.client.meta.events.register("before-send", self._keep)

    def _keep(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        self.requests.append(received(request))
        return AWSResponse(request.url, 200, {"content-type": "application/json"}, Raw())


class Raw:
    """An empty answer."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield b"{}"


def received(request: Any) -> tuple[Request, bytes]:
    """A request of botocore as a server receives it, and its body."""
    parts = urlsplit(request.url)
    headers = [(b"host", parts.netloc.encode())]
    for name, value in request.headers.items():
        raw = value if isinstance(value, bytes) else str(value).encode()
        if name.lower() != "host":
            headers.append((name.lower().encode(), raw))
    body = request.body or b""
    if hasattr(body, "read"):
        body = body.read()
    return Request(request.method, parts.path, parts.query, headers), body if isinstance(body, bytes) else body.encode()


def seconds(request: Request) -> float:
    """The time of a request."""
    from datetime import UTC, datetime

    at = next(value for name, value in request.headers if name == b"x-amz-date").decode()
    return datetime.strptime(at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()


def check(request: Request, body: bytes, secret: str | None = SECRET, **more: Any) -> str:
    """Check a request as a server does. Returns the id of its key."""
    claim = sigv4.read_claim(request, more.pop("service", "connect"), more.pop("now_s", None) or seconds(request))
    sigv4.verify(claim, request, secret, hashlib.sha256(body).hexdigest(), **more)
    return claim.key_id


def refused(request: Request, body: bytes, secret: str | None = SECRET, **more: Any) -> Refusal:
    """The kind of the error with which a request is refused."""
    with pytest.raises(SignatureError) as caught:
        check(request, body, secret, **more)
    return caught.value.kind


def corpus(endpoint: str = "https://hub.example.com", **more: Any) -> list[tuple[Request, bytes]]:
    """Each call of the API of attached files, with odd ids, ARNs and names."""
    captured = Captured(endpoint, "connect", **more)
    client = captured.client
    for odd, other in itertools.product(ODD, ODD[:6]):
        arn = f"arn:aws:cases:us-east-1:123456789012:domain/{odd}/case/{other}"
        instance = other[:100] or "i"
        client.start_attached_file_upload(
            InstanceId=instance,
            FileName=odd[:256],
            FileSizeInBytes=5,
            FileUseCaseType="ATTACHMENT",
            AssociatedResourceArn=arn,
            Tags={odd[:9]: other},
        )
        client.complete_attached_file_upload(InstanceId=instance, FileId=odd, AssociatedResourceArn=arn)
        client.get_attached_file(InstanceId=instance, FileId=odd, AssociatedResourceArn=arn, UrlExpiryInSeconds=60)
        client.batch_get_attached_file_metadata(InstanceId=instance, FileIds=[odd, other], AssociatedResourceArn=arn)
        client.delete_attached_file(InstanceId=instance, FileId=odd, AssociatedResourceArn=arn)
    return captured.requests


@pytest.mark.parametrize(
    ("endpoint", "more"),
    [
        ("https://hub.example.com", {}),
        ("http://127.0.0.1:8080", {"aws_session_token": "a+token/with=odd characters"}),
        ("https://hub.example.com/behind/a%20path/", {}),
    ],
)
def test_every_request_of_boto3_is_taken(endpoint: str, more: dict[str, Any]) -> None:
    requests = corpus(endpoint, **more)
    assert len(requests) == len(ODD) * 6 * 5
    for request, body in requests:
        assert check(request, body) == KEY


Change = Callable[[Request, bytes], tuple[Request, bytes]]


def _header(request: Request, name: bytes, change: Callable[[bytes], bytes]) -> Request:
    return request._replace(headers=[(each, change(value) if each == name else value) for each, value in request.headers])


CHANGES: dict[str, Change] = {
    "the body": lambda request, body: (request, body + b" "),
    "a parameter more": lambda request, body: (request._replace(query=f"{request.query}&x=1"), body),
    "a parameter less": lambda request, body: (request._replace(query=""), body),
    "another method": lambda request, body: (request._replace(method="PATCH"), body),
    "another path": lambda request, body: (request._replace(path=f"{request.path}x"), body),
    "another file": lambda request, body: (request._replace(path=request.path.replace("/attached-files/", "/attached-files/x", 1)), body),
    "another host": lambda request, body: (_header(request, b"host", lambda _: b"evil.example"), body),
    "another time": lambda request, body: (
        _header(request, b"x-amz-date", lambda at: at[:-2] + (b"0Z" if at[-2:] != b"0Z" else b"1Z")),
        body,
    ),
    "an unsigned header": lambda request, body: (request._replace(headers=[*request.headers, (b"x-amz-meta-x", b"1")]), body),
    "another hash": lambda request, body: (request._replace(headers=[*request.headers, (b"x-amz-content-sha256", b"0" * 64)]), body),
    "two signatures": lambda request, body: (
        request._replace(headers=[*request.headers, *[each for each in request.headers if each[0] == b"authorization"]]),
        body,
    ),
    "another key": lambda request, body: (
        _header(request, b"authorization", lambda value: value.replace(b"/aws4_request", b"/aws5_request")),
        body,
    ),
    "another region": lambda request, body: (
        _header(request, b"authorization", lambda value: value.replace(b"/eu-central-1/", b"/eu-central-2/")),
        body,
    ),
    "another date": lambda request, body: (
        _header(request, b"authorization", lambda value: value.replace(b"=AKIAHUBDEMO/20", b"=AKIAHUBDEMO/19")),
        body,
    ),
    "the session token": lambda request, body: (_header(request, b"x-amz-security-token", lambda value: value + b"x"), body),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_request_that_was_changed_is_refused(what: str) -> None:
    for request, body in corpus(aws_session_token="token")[::7]:
        if request.path.endswith("/.."):  # takes what stands before it out of the path, changed or not
            continue
        changed = CHANGES[what](request, body)
        assert changed != (request, body)
        assert refused(*changed, now_s=seconds(request)) in (Refusal.WRONG, Refusal.INCOMPLETE)


@pytest.fixture(scope="module")
def signed() -> tuple[Request, bytes]:
    """One request."""
    return corpus()[0]


def test_a_wrong_secret_and_an_unknown_key_are_told_apart(signed: tuple[Request, bytes]) -> None:
    assert refused(*signed, "another secret") is Refusal.WRONG
    assert refused(*signed, None) is Refusal.UNKNOWN_KEY


def test_an_unknown_key_with_the_secret_that_stands_in_for_it_is_refused(signed: tuple[Request, bytes]) -> None:
    request, body = signed
    headers = {name.decode(): value.decode() for name, value in request.headers if name in (b"content-type", b"x-amz-date")}
    sent = sigv4.sign(
        request.method,
        f"https://hub.example.com{request.path}?{request.query}",
        {"content-type": headers["content-type"]},
        hashlib.sha256(body).hexdigest(),
        Credentials("AKIANOBODY", "0" * 40),
        Target("eu-central-1", "connect"),
        seconds(request),
    )
    forged = request._replace(
        headers=[(b"host", b"hub.example.com"), *((name.lower().encode(), value.encode()) for name, value in sent.items())]
    )
    assert check(forged, body, "0" * 40) == "AKIANOBODY", "the signature is right as such"
    assert refused(forged, body, None) is Refusal.UNKNOWN_KEY


@pytest.mark.parametrize(("off", "good"), [(0, True), (900, True), (-900, True), (901, False), (-901, False), (960, False)])
def test_the_clocks_may_differ_by_fifteen_minutes(signed: tuple[Request, bytes], off: int, good: bool) -> None:
    request, body = signed
    if good:
        assert check(request, body, now_s=seconds(request) + off) == KEY
    else:
        assert refused(request, body, now_s=seconds(request) + off) is Refusal.WRONG


def test_a_signature_for_another_service_is_refused(signed: tuple[Request, bytes]) -> None:
    assert refused(*signed, service="execute-api") is Refusal.WRONG


def test_a_proxy_that_rewrites_the_host_is_told_the_public_one(signed: tuple[Request, bytes]) -> None:
    request, body = signed
    behind = _header(request, b"host", lambda _: b"127.0.0.1:8080")
    assert refused(behind, body) is Refusal.WRONG
    assert check(behind, body, other_host="hub.example.com") == KEY
    assert refused(behind, body, other_host="evil.example") is Refusal.WRONG


@pytest.mark.parametrize(
    ("authorization", "kind"),
    [
        (None, Refusal.MISSING),
        ("Bearer x", Refusal.MISSING),
        ("AWS4-HMAC-SHA256", Refusal.INCOMPLETE),
        ("AWS4-HMAC-SHA256 Credential=A", Refusal.INCOMPLETE),
        ("AWS4-HMAC-SHA256 Credential=, SignedHeaders=host, Signature=0", Refusal.INCOMPLETE),
        ("AWS4-HMAC-SHA256 Credential=/20261129/r/connect/aws4_request, SignedHeaders=host, Signature=0", Refusal.INCOMPLETE),
        ("AWS4-HMAC-SHA256 Credential=A/20261129/r/connect, SignedHeaders=host, Signature=0", Refusal.INCOMPLETE),
        ("AWS4-HMAC-SHA256 Credential=A/20261129//connect/aws4_request, SignedHeaders=host, Signature=0", Refusal.INCOMPLETE),
        ("AWS4-HMAC-SHA256 Credential=A/20261129/r/connect/aws4_request, SignedHeaders=host;x-amz-date, Signature=0", Refusal.INCOMPLETE),
        (f"AWS4-HMAC-SHA256 Credential=A/20261129/r/connect/aws4_request, SignedHeaders=x-amz-date, Signature={'0' * 64}", Refusal.WRONG),
        (f"AWS4-HMAC-SHA256 Credential=A/20261129/r/connect/aws4_request, SignedHeaders=Host, Signature={'0' * 64}", Refusal.INCOMPLETE),
        (
            f"AWS4-HMAC-SHA256 Credential=A/20261129/r/connect/aws4_request, SignedHeaders=host;host, Signature={'0' * 64}",
            Refusal.INCOMPLETE,
        ),
        (
            f"AWS4-HMAC-SHA256 Credential=A/20261129/r/connect/aws4_request, SignedHeaders=host, SignedHeaders=host, Signature={'0' * 64}",
            Refusal.INCOMPLETE,
        ),
        ("AWS4-HMAC-SHA256 " + "x" * 5000, Refusal.INCOMPLETE),
        (
            f"AWS4-HMAC-SHA256 Credential={'A' * 129}/20261129/r/connect/aws4_request, SignedHeaders=host, Signature={'0' * 64}",
            Refusal.INCOMPLETE,
        ),
    ],
)
def test_what_is_no_signature_is_told_so(authorization: str | None, kind: Refusal) -> None:
    headers = [(b"host", b"hub.example.com"), (b"x-amz-date", b"20261129T125005Z")]
    if authorization is not None:
        headers.append((b"authorization", authorization.encode()))
    request = Request("GET", "/attached-files/x/y", "", headers)
    assert refused(request, b"") is kind


@pytest.mark.parametrize("at", ["", "20261129", "20261332T250000Z", "29 Nov 2026", "２０２６1129T125005Z"])
def test_a_time_that_is_none_is_told_so(at: str) -> None:
    authorization = f"AWS4-HMAC-SHA256 Credential=A/20261129/r/connect/aws4_request, SignedHeaders=host;x-amz-date, Signature={'0' * 64}"
    request = Request("GET", "/", "", [(b"host", b"h"), (b"x-amz-date", at.encode()), (b"authorization", authorization.encode())])
    assert refused(request, b"", now_s=1.0) is Refusal.INCOMPLETE


def test_a_link_is_no_signature(signed: tuple[Request, bytes]) -> None:
    request, body = signed
    link = sigv4.presign(
        "GET", f"https://hub.example.com{request.path}", {}, 300, Credentials(KEY, SECRET), "eu-central-1", seconds(request)
    )
    linked = Request("GET", request.path, urlsplit(link).query, [(b"host", b"hub.example.com")])
    assert refused(linked, body, now_s=seconds(request)) is Refusal.MISSING


TEXTS = st.text(max_size=30)


@given(path=st.lists(TEXTS, max_size=5), query=st.lists(st.tuples(TEXTS, TEXTS), max_size=4), value=TEXTS, body=st.binary(max_size=30))
def test_botocore_makes_the_same_signature(path: list[str], query: list[tuple[str, str]], value: str, body: bytes) -> None:
    """One of our requests, whatever stands in it, is signed by botocore as we sign it."""
    url = "https://hub.example.com/" + "/".join(quote(each, safe="") for each in path if each < "\ud800" or each > "\udfff")
    if query:
        url += "?" + "&".join(f"{quote(name, safe='')}={quote(each, safe='')}" for name, each in query)
    headers = {"X-Meta": "".join(each for each in value if each.isprintable() and each.isascii()) or "x"}
    request = botocore.awsrequest.AWSRequest("PUT", url, dict(headers), body)
    botocore.auth.SigV4Auth(botocore.credentials.Credentials(KEY, SECRET), "connect", "r").add_auth(request)
    prepared, sent_body = received(request.prepare())
    ours = sigv4.sign(
        "PUT", url, headers, hashlib.sha256(body).hexdigest(), Credentials(KEY, SECRET), Target("r", "connect"), seconds(prepared)
    )
    theirs = next(value for name, value in prepared.headers if name == b"authorization").decode()
    assert ours["Authorization"] == theirs
    assert check(prepared, sent_body) == KEY


@given(key=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1, max_size=20), min_size=1, max_size=4))
def test_botocore_makes_the_same_link(key: list[str]) -> None:
    url = "https://s3.example.com/bucket/" + "/".join(quote(each, safe="~") for each in key)
    request = botocore.awsrequest.AWSRequest("PUT", url, {"Content-Type": "text/plain", "Content-Length": "5"})
    auth = botocore.auth.S3SigV4QueryAuth(botocore.credentials.Credentials(KEY, SECRET, "a token/+="), "s3", "r", expires=300)
    auth.add_auth(request)
    at = urlsplit(request.url).query.partition("X-Amz-Date=")[2][:16]
    made = Request("PUT", "/", "", [(b"x-amz-date", at.encode())])
    ours = sigv4.presign(
        "PUT", url, {"content-type": "text/plain", "content-length": "5"}, 300, Credentials(KEY, SECRET, "a token/+="), "r", seconds(made)
    )
    assert urlsplit(ours).query.split("&")[-1] == urlsplit(request.url).query.split("&")[-1]


@given(
    name=st.sampled_from([b"authorization", b"x-amz-date", b"host"]),
    value=st.binary(max_size=200),
    path=st.text(max_size=40),
    query=st.text(max_size=40),
)
def test_no_input_is_more_than_refused(name: bytes, value: bytes, path: str, query: str) -> None:
    headers = [(b"host", b"h"), (b"x-amz-date", b"20261129T125005Z")]
    headers = [each for each in headers if each[0] != name] + [(name, value)]
    with pytest.raises(SignatureError):
        check(Request("GET", path, query, headers), b"", now_s=1795956605.0)


def test_a_session_token_is_signed_and_a_changed_claim_is_not_good(signed: tuple[Request, bytes]) -> None:
    request, body = signed
    claim = sigv4.read_claim(request, "connect", seconds(request))
    with pytest.raises(SignatureError):
        sigv4.verify(replace(claim, signature="0" * 64), request, SECRET, hashlib.sha256(body).hexdigest())
