"""The short way answers calls for attached files as the long one does."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from hub.http.fast_router import FastRouter
from hub.objects.sigv4 import Credentials
from hub.security.gate import Gate
from hub.transports.dispatcher import Dispatcher
from tests.channels.files.test_routes_attached import CASE, DEMO, NEW, OURS, Calls
from tests.channels.files.test_routes_attached import calls as calls

OTHER = "arn:aws:cases:us-east-1:000000000000:domain/hub/case/1"

UNSIGNED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "announced": ("PUT", "demo", {"body": NEW}),
    "announced with all fields": ("PUT", "demo", {"body": {**NEW, "ClientToken": "t", "Tags": {"a": "b"}, "UrlExpiryInSeconds": 5}}),
    "a field that is newer": ("PUT", "demo", {"body": {**NEW, "Newer": 1}}),
    "a field that is missing": ("PUT", "demo", {"body": {"FileName": "a.txt"}}),
    "fields of the wrong type": ("PUT", "demo", {"body": {**NEW, "FileSizeInBytes": "5", "FileName": 7}}),
    "a number that is too large for JSON": ("PUT", "demo", {"body": {**NEW, "FileSizeInBytes": 10**30}}),
    "a name that is refused": ("PUT", "demo", {"body": {**NEW, "FileName": "../x"}}),
    "another use": ("PUT", "demo", {"body": {**NEW, "FileUseCaseType": "EMAIL_MESSAGE"}}),
    "a creator that is refused": ("PUT", "demo", {"body": {**NEW, "CreatedBy": {"AWSIdentityArn": CASE}}}),
    "not JSON": ("PUT", "demo", {"content": b'{"FileName":'}),
    "half of a character": (
        "PUT",
        "demo",
        {"content": b'{"FileName": "\\ud800.txt", "FileSizeInBytes": 5, "FileUseCaseType": "ATTACHMENT"}'},
    ),
    "no object": ("PUT", "demo", {"body": [NEW]}),
    "too deep": ("PUT", "demo", {"content": b'{"FileName": %b}' % (b"[" * 500 + b"]" * 500)}),
    "no body": ("PUT", "demo", {}),
    "a body that is too large": ("PUT", "demo", {"body": {**NEW, "Newer": "x" * 600_000}}),
    "a body of another type": ("PUT", "demo", {"content": b"{}", "type": "text/plain"}),
    "no resource": ("PUT", "demo", {"body": NEW, "arn": None}),
    "an empty resource": ("PUT", "demo", {"body": NEW, "arn": ""}),
    "a resource that is none": ("PUT", "demo", {"body": NEW, "arn": "case/4711"}),
    "two resources": ("PUT", "demo", {"body": NEW, "query": "&associatedResourceArn=b"}),
    "another instance": ("PUT", "other", {"body": NEW}),
    "an instance with a slash": ("PUT", "demo%2Fdemo", {"body": NEW}),
    "two slashes before it": ("PUT", "/demo", {"body": NEW}),
    "completed": ("POST", "demo/ID", {}),
    "completed with a body": ("POST", "demo/ID", {"body": {"any": 1}}),
    "completed, of another resource": ("POST", "demo/ID", {"arn": OTHER}),
    "completed, which is unknown": ("POST", "demo/nothing", {}),
    "completed, with an odd id": ("POST", "demo/a%2Fb", {}),
    "got": ("GET", "demo/ID", {}),
    "got for some seconds": ("GET", "demo/ID", {"query": "&urlExpiryInSeconds=60&urlContentDisposition=INLINE"}),
    "got for too many seconds": ("GET", "demo/ID", {"query": "&urlExpiryInSeconds=6000"}),
    "got, with a parameter without a value": ("GET", "demo/ID", {"query": "&urlExpiryInSeconds="}),
    "got, of another resource": ("GET", "demo/ID", {"arn": OTHER}),
    "got, which is unknown": ("GET", "demo/nothing", {}),
    "its head alone": ("HEAD", "demo/ID", {}),
    "another method": ("PATCH", "demo/ID", {}),
    "nobody": ("PUT", "demo", {"body": NEW, "headers": {}}),
    "nobody, and no body": ("PUT", "demo", {"headers": {}}),
    "somebody unknown": ("GET", "demo/ID", {"headers": {"Authorization": "Bearer wrong"}}),
    "an unknown key": ("GET", "demo/ID", {"headers": {"x-api-key": "wrong"}}),
    "a request id": ("GET", "demo/ID", {"headers": {**DEMO, "x-request-id": "mine"}}),
    "a page of another origin": ("GET", "demo/ID", {"headers": {**DEMO, "origin": "https://elsewhere.example"}}),
}

SIGNED: dict[str, tuple[str, str, object, dict[str, Any]]] = {
    "announced": ("PUT", "demo", NEW, {}),
    "a field that is missing": ("PUT", "demo", {"FileName": "a.txt"}, {}),
    "a body that is too large": ("PUT", "demo", {**NEW, "Newer": "x" * 600_000}, {}),
    "completed": ("POST", "demo/ID", None, {}),
    "got": ("GET", "demo/ID", None, {}),
    "got with a body": ("GET", "demo/ID", {"any": 1}, {}),
    "of a resource that is none": ("GET", "demo/ID", None, {"arn": "case"}),
    "for another service": ("GET", "demo/ID", None, {"service": "s3"}),
    "with another secret": ("PUT", "demo", NEW, {"who": Credentials("AKIAHUBDEMO", "wrong")}),
    "by an unknown key": ("PUT", "demo", NEW, {"who": Credentials("AKIAHUBNONE", "wrong")}),
    "with a header that was changed": ("PUT", "demo", NEW, {"x-amz-date": "20200101T000000Z"}),
    "beside an unknown key of the API": ("GET", "demo/ID", None, {"x-api-key": "wrong"}),
}

_NEW_EACH_TIME = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[\d:.]+Z|\d{8}T\d{6}Z|(?<=[?&]e=)\d+|(?<=&sig=)[0-9a-f]{64}"
)


def comparable(answer: httpx.Response) -> tuple[int, str, dict[str, str]]:
    """What must be the same: not ids, times and signatures, which are new each time."""
    own = {"x-request-id", "x-amzn-requestid"}
    headers = {name: value for name, value in answer.headers.items() if name not in own or value == "mine"}
    return answer.status_code, _NEW_EACH_TIME.sub("NEW", answer.text), headers


def fast_router(calls: Calls) -> FastRouter:
    app = calls.node.app
    assert isinstance(app, Dispatcher)
    assert isinstance(app._rest, FastRouter)
    return app._rest


async def both_ways(calls: Calls, monkeypatch: pytest.MonkeyPatch, ask: Callable[[str], Awaitable[httpx.Response]]) -> list[Any]:
    """Ask for a file of its own by each way, and return both answers."""
    answers = []
    for routes in (fast_router(calls)._routes, []):
        file = await calls.start()
        upload = file["UploadUrlMetadata"]
        await calls.client.put(upload["Url"], content=b"hello", headers=upload["HeadersToInclude"])
        with monkeypatch.context() as patched:
            patched.setattr(fast_router(calls), "_routes", routes)
            answers.append(comparable(await ask(file["FileId"])))
    return answers


async def test_both_ways_answer_alike(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for what, (method, path, given) in UNSIGNED.items():

        async def ask(identifier: str, method: str = method, path: str = path, given: dict[str, Any] = given) -> httpx.Response:
            more = dict(given)
            if "content" in more:
                more["headers"] = {**DEMO, "content-type": more.pop("type", "application/json")}
            return await calls.call(method, path.replace("ID", identifier), more.pop("body", None), more.pop("arn", CASE), **more)

        found[what] = await both_ways(calls, monkeypatch, ask)
    assert {what: answers for what, answers in found.items() if answers[0] != answers[1]} == {}
    assert {answers[0][0] for answers in found.values()} >= {200, 400, 401, 403, 404, 405, 413}


async def test_both_ways_answer_those_who_sign_alike(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for what, (method, path, body, given) in SIGNED.items():

        async def ask(
            identifier: str, method: str = method, path: str = path, body: object = body, given: dict[str, Any] = given
        ) -> httpx.Response:
            more = dict(given)
            return await calls.signed(more.pop("who", OURS), method, path.replace("ID", identifier), body, **more)

        found[what] = await both_ways(calls, monkeypatch, ask)
    assert {what: answers for what, answers in found.items() if answers[0] != answers[1]} == {}
    assert {answers[0][0] for answers in found.values()} >= {200, 400, 403, 413}


async def test_what_clients_of_amazon_send_goes_the_short_way(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    router = fast_router(calls)
    real, seen = router._app, []

    async def long_way(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope["method"], scope["path"].count("/")))
        await real(scope, receive, send)

    monkeypatch.setattr(router, "_app", long_way)
    file = (await calls.signed(OURS, "PUT", "demo", NEW)).json()
    upload = file["UploadUrlMetadata"]
    await calls.client.put(upload["Url"], content=b"hello", headers=upload["HeadersToInclude"])
    assert (await calls.signed(OURS, "POST", f"demo/{file['FileId']}")).json() == {}
    assert (await calls.signed(OURS, "GET", f"demo/{file['FileId']}")).json()["FileStatus"] == "APPROVED"
    assert seen == []
    assert (await calls.signed(OURS, "POST", "demo", {"FileIds": [file["FileId"]]})).json()["Errors"] == []
    assert seen == [("POST", 2)]


async def test_a_body_that_is_left_to_the_framework_is_read_once_and_its_caller_found_once(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = Gate.identify, []

    async def identify(gate: Gate, scope: Scope, **more: Any) -> Any:
        asked.append(scope["path"])
        return await real(gate, scope, **more)

    monkeypatch.setattr(Gate, "identify", identify)
    answer = await calls.call("PUT", "demo", {"FileName": "a.txt"})
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (400, "InvalidRequestException")
    assert asked == ["/attached-files/demo"]
