"""Each field of each call: what is taken, what is refused, and that who calls is asked first."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.channels.files.participants.support import EVENT, Talk

GOOD: Final[dict[str, dict[str, Any]]] = {
    "start-attachment-upload": {"AttachmentName": "a.txt", "AttachmentSizeInBytes": 5, "ContentType": "text/plain", "ClientToken": "t"},
    "message": {"ContentType": "text/plain", "Content": "x"},
    "event": {"ContentType": f"{EVENT}typing"},
    "transcript": {},
}

TAKEN: Final[list[tuple[str, dict[str, Any]]]] = [
    ("message", {"Content": "x" * 16_384}),
    ("message", {"Content": "日" * 5_461}),
    ("message", {"ContentType": "text/markdown"}),
    ("message", {"ContentType": "application/json", "Content": '{"a":1}'}),
    ("message", {"ContentType": "application/vnd.amazonaws.connect.message.interactive.response", "Content": "{}"}),
    ("message", {"ClientToken": "t" * 500}),
    ("message", {"ClientToken": ""}),
    ("message", {"ClientToken": None}),
    ("message", {"SomethingNewer": True}),
    ("event", {"ContentType": f"{EVENT}connection.acknowledged", "Content": "{}"}),
    ("transcript", {"MaxResults": 0}),
    ("transcript", {"MaxResults": 100}),
    ("transcript", {"StartPosition": {"MostRecent": 0}}),
    ("transcript", {"StartPosition": {"AbsoluteTime": "2026-01-01T00:00:00.000Z"}}),
    ("transcript", {"ScanDirection": "FORWARD", "SortOrder": "ASCENDING", "StartPosition": {}}),
    ("start-attachment-upload", {"AttachmentName": "a" * 252 + ".txt"}),
    ("start-attachment-upload", {"AttachmentSizeInBytes": 20 * 1024 * 1024}),
]

REFUSED: Final[list[tuple[str, dict[str, Any], str]]] = [
    ("message", {"Content": ""}, "Content"),
    ("message", {"Content": None}, "Content"),
    ("message", {"Content": 5}, "Content"),
    ("message", {"Content": "x" * 16_385}, "Content"),
    ("message", {"Content": "日" * 5_462}, "Content"),
    ("message", {"Content": "a\0b"}, "body"),
    ("message", {"ContentType": "text/html"}, "ContentType"),
    ("message", {"ContentType": ""}, "ContentType"),
    ("message", {"ContentType": f"{EVENT}typing"}, "ContentType"),
    ("message", {"ContentType": "application/json", "Content": "{"}, "Content"),
    ("message", {"ClientToken": "t" * 501}, "ClientToken"),
    ("event", {"ContentType": "text/plain"}, "ContentType"),
    ("event", {"ContentType": f"{EVENT}participant.left"}, "ContentType"),
    ("event", {"ContentType": f"{EVENT}message.read"}, "Content"),
    ("event", {"ContentType": f"{EVENT}message.read", "Content": "no JSON"}, "Content"),
    ("event", {"ContentType": f"{EVENT}message.read", "Content": '{"messageId": 5}'}, "Content"),
    ("transcript", {"MaxResults": -1}, "MaxResults"),
    ("transcript", {"MaxResults": 101}, "MaxResults"),
    ("transcript", {"MaxResults": "10"}, "MaxResults"),
    ("transcript", {"NextToken": "nonsense"}, "NextToken"),
    ("transcript", {"NextToken": "x" * 1_001}, "NextToken"),
    ("transcript", {"ScanDirection": "SIDEWAYS"}, "ScanDirection"),
    ("transcript", {"SortOrder": "RANDOM"}, "SortOrder"),
    ("transcript", {"StartPosition": {"MostRecent": 101}}, "StartPosition.MostRecent"),
    ("transcript", {"StartPosition": {"AbsoluteTime": "yesterday"}}, "StartPosition.AbsoluteTime"),
    ("transcript", {"StartPosition": {"Id": "unknown"}}, "StartPosition.Id"),
    ("transcript", {"StartPosition": {"Id": "x", "MostRecent": 1}}, "StartPosition"),
    ("start-attachment-upload", {"AttachmentName": ""}, "AttachmentName"),
    ("start-attachment-upload", {"AttachmentName": "a" * 257}, "AttachmentName"),
    ("start-attachment-upload", {"AttachmentName": "a\nb.txt"}, "AttachmentName"),
    ("start-attachment-upload", {"AttachmentName": "a.exe"}, "AttachmentName"),
    ("start-attachment-upload", {"AttachmentSizeInBytes": 0}, "AttachmentSizeInBytes"),
    ("start-attachment-upload", {"AttachmentSizeInBytes": 20 * 1024 * 1024 + 1}, "AttachmentSizeInBytes"),
    ("start-attachment-upload", {"AttachmentSizeInBytes": 1.5}, "AttachmentSizeInBytes"),
    ("start-attachment-upload", {"ContentType": "x" * 256}, "ContentType"),
    ("start-attachment-upload", {"ContentType": "no type"}, "ContentType"),
    ("start-attachment-upload", {"ClientToken": ""}, "ClientToken"),
    ("start-attachment-upload", {"ClientToken": None}, "ClientToken"),
    ("complete-attachment-upload", {"AttachmentIds": [], "ClientToken": "t"}, "AttachmentIds"),
    ("complete-attachment-upload", {"AttachmentIds": ["a", "b"], "ClientToken": "t"}, "AttachmentIds"),
    ("complete-attachment-upload", {"AttachmentIds": ["a"]}, "ClientToken"),
    ("complete-attachment-upload", {"AttachmentIds": ["unknown"], "ClientToken": "t"}, ""),
    ("attachment", {}, "AttachmentId"),
    ("attachment", {"AttachmentId": "unknown"}, ""),
    ("attachment", {"AttachmentId": "x", "UrlExpiryInSeconds": 4}, "UrlExpiryInSeconds"),
    ("attachment", {"AttachmentId": "x", "UrlExpiryInSeconds": 301}, "UrlExpiryInSeconds"),
    ("attachment", {"AttachmentId": "x", "UrlContentDisposition": "SHOWN"}, "UrlContentDisposition"),
    ("disconnect", {"ClientToken": "t" * 501}, "ClientToken"),
]


def name_of(case: Any) -> str:
    return str(case)[:60]


@pytest.mark.parametrize(("call", "changed"), TAKEN, ids=name_of)
async def test_what_is_taken(lightly: Talk, call: str, changed: dict[str, Any]) -> None:
    ana = await lightly.chatter()
    answer = await ana.ask(call, **{**GOOD[call], **changed})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(("call", "changed", "field"), REFUSED, ids=name_of)
async def test_what_is_refused_names_its_field(lightly: Talk, call: str, changed: dict[str, Any], field: str) -> None:
    ana = await lightly.chatter()
    answer = await ana.ask(call, **{**GOOD.get(call, {}), **changed})
    assert answer.status_code == 400, answer.text
    assert f"{field}:" in answer.text


@pytest.mark.parametrize("kinds", [[], ["WEBSOCKET", "WEBRTC_CONNECTION"], ["PHONE"], "WEBSOCKET"])
async def test_connections_that_there_are_not(lightly: Talk, kinds: Any) -> None:
    ana = await lightly.let_in()
    assert (await lightly.call("connection", ana.token, Type=kinds)).status_code == 400


CALLS: Final = (
    "connection",
    "start-attachment-upload",
    "complete-attachment-upload",
    "attachment",
    "message",
    "event",
    "transcript",
    "disconnect",
)


@pytest.mark.parametrize("call", CALLS)
async def test_who_calls_is_asked_before_anything_else(lightly: Talk, call: str) -> None:
    for headers in ({}, {"X-Amz-Bearer": "nonsense"}, {"Authorization": "Bearer agent"}, {"x-api-key": "agent"}):
        answer = await lightly.client.post(f"/participant/{call}", headers=headers, content=b"\xff no JSON")
        assert answer.status_code == 403, (headers, answer.text)
    twice = await lightly.client.post(f"/participant/{call}", headers=[("X-Amz-Bearer", "a"), ("X-Amz-Bearer", "b")])
    assert twice.status_code == 403


async def test_other_credentials_are_not_looked_at(lightly: Talk) -> None:
    """Amazon's clients sign these calls all the same, some with empty keys."""
    ana = await lightly.chatter()
    headers = {"X-Amz-Bearer": ana.connection, "Authorization": "AWS4-HMAC-SHA256 Credential=/20261129/us-east-1/execute-api/aws4_request"}
    answer = await lightly.client.post("/participant/message", headers=headers, json=GOOD["message"])
    assert answer.status_code == 200


@pytest.mark.parametrize("body", [b"[]", b"{", b"5", b'"x"', b"\xff", b"[" * 100, b'{"Content":"\\ud800"'])
async def test_bodies_that_are_none(lightly: Talk, body: bytes) -> None:
    ana = await lightly.chatter()
    answer = await lightly.client.post("/participant/message", headers={"X-Amz-Bearer": ana.connection}, content=body)
    assert answer.status_code == 400, answer.text


async def test_a_body_that_is_too_large(lightly: Talk) -> None:
    ana = await lightly.chatter()
    answer = await lightly.client.post("/participant/message", headers={"X-Amz-Bearer": ana.connection}, content=b" " * 200_000)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "changed",
    [
        {"role": "SYSTEM"},
        {"role": None},
        {"displayName": ""},
        {"displayName": "x" * 257},
        {"displayName": "a\nb"},
        {"interactionId": ""},
        {"interactionId": "x" * 201},
        {"interactionId": "日" * 150},
        {"interactionId": "a\0b"},
        {"clientToken": ""},
        {"somethingElse": 1},
    ],
    ids=name_of,
)
async def test_whom_nobody_may_let_in(lightly: Talk, changed: dict[str, Any]) -> None:
    answer = await lightly.rest("POST", "/api/v1/participants", json={"role": "CUSTOMER", "displayName": "Ana", **changed})
    assert answer.status_code == 400, answer.text
