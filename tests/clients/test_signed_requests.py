"""Requests as Amazon's client of JavaScript signs them and as they arrive: all are taken, and none that was changed on the way."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hub.objects.sigv4 import Refusal, Request
from tests.hub.objects.test_sigv4 import CHANGES, KEY, ODD, SECRET, check, refused, seconds
from tests.support.puppet import PuppetProcess

pytestmark = pytest.mark.node

Recorded = list[tuple[Request, bytes]]


def calls() -> list[tuple[str, dict[str, Any]]]:
    """Each call, with odd ids, resources and names."""
    made: list[tuple[str, dict[str, Any]]] = []
    for odd, other in itertools.product(ODD, ODD[:6]):
        where = {
            "InstanceId": other[:100] or "i",
            "AssociatedResourceArn": f"arn:aws:cases:us-east-1:123456789012:domain/{odd}/case/{other}",
        }
        new = {"FileName": odd[:256], "FileSizeInBytes": 5, "FileUseCaseType": "ATTACHMENT", "Tags": {odd[:9]: other}}
        made += [
            ("start", {**where, **new}),
            ("complete", {**where, "FileId": odd}),
            ("get", {**where, "FileId": odd, "UrlExpiryInSeconds": 60}),
            ("batch", {**where, "FileIds": [odd, other]}),
            ("delete", {**where, "FileId": odd}),
        ]
    return made


@pytest.fixture(scope="module")
def record() -> Iterator[Callable[..., Recorded]]:
    """Has the client send some calls to a base URL that ends in ``path``; returns what arrived."""
    process = PuppetProcess("connect.mjs")
    client = process.client()

    def recorded(path: str = "", token: str | None = None, some: slice = slice(None)) -> Recorded:
        number = process.start(2, "recorded", path, KEY, SECRET, token, calls()[some])
        return [_request(each) for each in process.result(number, "recorded", timeout=90)]

    assert client
    yield recorded
    process.close()


def _request(seen: dict[str, Any]) -> tuple[Request, bytes]:
    path, _, query = seen["url"].partition("?")
    lines = iter(seen["headers"])
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in zip(lines, lines, strict=True)]
    return Request(seen["method"], path, query, headers), base64.b64decode(seen["body"])


@pytest.mark.parametrize(("path", "token"), [("", None), ("/", None), ("", "a+token/with=odd characters"), ("/behind/a%20path/", None)])
def test_every_request_is_taken(record: Callable[..., Recorded], path: str, token: str | None) -> None:
    some = slice(None, None, 3 if path or token else None)
    requests = record(path, token, some)
    assert len(requests) == len(calls()[some])
    for request, body in requests:
        assert check(request, body) == KEY, request


@pytest.fixture(scope="module")
def corpus(record: Callable[..., Recorded]) -> Recorded:
    return record("", "token", slice(None, None, 7))


@pytest.mark.parametrize("what", [name for name in CHANGES if name != "another hash"])
def test_a_request_that_was_changed_is_refused(corpus: Recorded, what: str) -> None:
    tried = 0
    for request, body in corpus:
        if request.path.endswith("/.."):  # takes what stands before it out of the path, changed or not
            continue
        changed = CHANGES[what](request, body)
        assert changed != (request, body)
        assert refused(*changed, now_s=seconds(request)) in (Refusal.WRONG, Refusal.INCOMPLETE)
        tried += 1
    assert tried > 40


def test_a_hash_that_is_not_that_of_the_body_is_refused(corpus: Recorded) -> None:
    for request, body in corpus:
        headers = [(name, b"0" * 64 if name == b"x-amz-content-sha256" else value) for name, value in request.headers]
        assert headers != request.headers
        assert refused(request._replace(headers=headers), body, now_s=seconds(request)) is Refusal.WRONG


def test_a_wrong_secret_and_an_unknown_key_are_refused(corpus: Recorded) -> None:
    for request, body in corpus:
        assert refused(request, body, "another") is Refusal.WRONG
        assert refused(request, body, None) is Refusal.UNKNOWN_KEY
        assert refused(request, body, now_s=seconds(request) + 960) is Refusal.WRONG
