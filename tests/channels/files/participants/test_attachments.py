"""Attachments of chats, on both databases."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from channels.files.publisher import FILE_LISTENERS, FileChange
from tests.channels.files.participants.support import Chatter, Talk

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


async def announced(ana: Chatter, content: bytes = b"hello", name: str = "a.txt", kind: str = "text/plain", token: str = "t1") -> Any:
    """The answer of StartAttachmentUpload."""
    return await ana.get(
        "start-attachment-upload", AttachmentName=name, AttachmentSizeInBytes=len(content), ContentType=kind, ClientToken=token
    )


async def put(talk: Talk, started: Any, content: bytes = b"hello") -> int:
    """Upload by the link. The links of this test's calls have the host of a request, the bytes go where the test's server listens."""
    metadata = started["UploadMetadata"]
    url = metadata["Url"].replace("http://localhost:8080", talk.world.base)
    answer = await talk.world.client.put(url, content=content, headers=metadata["HeadersToInclude"])
    return answer.status_code


async def attached(talk: Talk, ana: Chatter, content: bytes = b"hello", **more: Any) -> str:
    """The id of an attachment that was completed."""
    started = await announced(ana, content, **more)
    assert await put(talk, started, content) == 200
    await ana.get("complete-attachment-upload", AttachmentIds=[started["AttachmentId"]], ClientToken="c1")
    identifier: str = started["AttachmentId"]
    return identifier


async def download(talk: Talk, who: Chatter, identifier: str, **more: Any) -> Any:
    """What a participant gets of an attachment."""
    link = await who.get("attachment", AttachmentId=identifier, **more)
    return await talk.world.client.get(link["Url"].replace("http://localhost:8080", talk.world.base))


async def test_an_attachment_from_its_announcement_to_its_reader(talk: Talk) -> None:
    ana = await talk.chatter()
    desk = await talk.chatter(role="AGENT", interactionId=ana.contact)
    started = await announced(ana)
    early = await ana.ask("complete-attachment-upload", AttachmentIds=[started["AttachmentId"]], ClientToken="c1")
    assert early.status_code == 400  # as chatjs completes after an upload that failed
    assert (await desk.ask("attachment", AttachmentId=started["AttachmentId"])).status_code == 400
    assert await put(talk, started) == 200
    complete = {"AttachmentIds": [started["AttachmentId"]], "ClientToken": "c1"}
    assert await ana.get("complete-attachment-upload", **complete) == {}
    assert await ana.get("complete-attachment-upload", **complete) == {}
    (item,) = [each for each in await talk.tells(ana.contact, 3) if each["Type"] == "ATTACHMENT"]
    assert item["Attachments"] == [
        {"AttachmentId": started["AttachmentId"], "AttachmentName": "a.txt", "ContentType": "text/plain", "Status": "APPROVED"}
    ]
    assert (item["ParticipantId"], item["ParticipantRole"]) == (ana.id, "CUSTOMER")
    assert item["ContentType"] == "application/vnd.amazonaws.connect.message.attachment"
    assert (await ana.items())[-1] == item
    got = await download(talk, desk, started["AttachmentId"], UrlContentDisposition="INLINE", UrlExpiryInSeconds=5)
    assert (got.content, got.headers["content-type"]) == (b"hello", "text/plain")
    link = await ana.get("attachment", AttachmentId=started["AttachmentId"])
    assert link["AttachmentSizeInBytes"] == 5
    # the events of files name the interaction
    assert [each["event"] for each in talk.world.heard.on(f"/nexus/v3/interactions/{ana.contact}/files")] == ["UPLOADED", "APPROVED"]


async def test_the_same_announcement_is_the_same_attachment(talk: Talk) -> None:
    ana = await talk.chatter()
    ids = {each["AttachmentId"] for each in await asyncio.gather(*(announced(ana) for _ in range(3)))}
    assert len(ids) == 1
    body = {"AttachmentName": "b.txt", "AttachmentSizeInBytes": 5, "ContentType": "text/plain", "ClientToken": "t1"}
    assert (await ana.ask("start-attachment-upload", **body)).status_code == 400


async def test_a_file_that_is_not_what_it_says_is_told_as_rejected(lightly: Talk) -> None:
    ana = await lightly.chatter()
    identifier = await attached(lightly, ana, PNG, name="a.txt")
    (item,) = [each for each in await lightly.tells(ana.contact, 2) if each["Type"] == "ATTACHMENT"]
    assert item["Attachments"][0]["Status"] == "REJECTED"
    assert (await ana.ask("attachment", AttachmentId=identifier)).status_code == 400


@pytest.mark.parametrize(("verdict", "status"), [("APPROVED", "APPROVED"), ("REJECTED", "REJECTED"), ("FAILED", "REJECTED")])
async def test_a_verdict_changes_the_item_under_its_id(talk: Talk, verdict: str, status: str) -> None:
    ana = await talk.chatter()
    listener = talk.world.context.one(FILE_LISTENERS)
    identifier = (await announced(ana))["AttachmentId"]

    def change(number: int, event: str) -> FileChange:
        return FileChange(number, "acme", event, 0, identifier, "a.txt", "text/plain", 5, ana.contact, ana.id, None)

    for number, event in enumerate(("UPLOADED", "SCANNING", "SCANNING", verdict, verdict, "SCANNING", "DELETED"), 1):
        await listener.file_changed(change(number, event))
    statuses = ["IN_PROGRESS", status, *(["REJECTED"] if status == "APPROVED" else [])]  # a file that is gone is not read
    told = (await talk.tells(ana.contact, 1 + len(statuses)))[1:]
    assert [each["Attachments"][0]["Status"] for each in told] == statuses
    assert len({each["Id"] for each in told}) == len({each["AbsoluteTime"] for each in told}) == 1
    assert [each["Attachments"][0]["Status"] for each in await ana.items() if each["Type"] == "ATTACHMENT"] == statuses[-1:]


async def test_a_deleted_file_is_told_as_such(talk: Talk) -> None:
    ana = await talk.chatter()
    identifier = await attached(talk, ana)
    await talk.tells(ana.contact, 2)
    await talk.world.files.delete("acme", identifier)
    told = (await talk.tells(ana.contact, 3))[1:]
    assert [each["Attachments"][0]["Status"] for each in told] == ["APPROVED", "REJECTED"]
    assert len({each["Id"] for each in told}) == 1
    refused = await ana.ask("attachment", AttachmentId=identifier)
    assert (refused.status_code, refused.json()["Message"]) == (400, f"the attachment {identifier} was deleted")
    assert "was deleted" not in (await ana.ask("attachment", AttachmentId="unknown")).text


async def test_a_verdict_after_the_end_changes_the_item_alone(talk: Talk) -> None:
    ana = await talk.chatter()
    listener = talk.world.context.one(FILE_LISTENERS)

    def change(number: int, event: str, file: str) -> FileChange:
        return FileChange(number, "acme", event, 0, file, "a.txt", "text/plain", 5, ana.contact, ana.id, None)

    first, second = [(await announced(ana, token=each))["AttachmentId"] for each in ("t1", "t2")]
    await listener.file_changed(change(1, "SCANNING", first))
    await ana.get("disconnect")
    await listener.file_changed(change(2, "APPROVED", first))
    await listener.file_changed(change(3, "APPROVED", second))  # nobody is there to be told of a new one
    read = await talk.rest("GET", f"/api/v1/interactions/{ana.contact}/transcript", caller="reader")
    files = [each["Attachments"][0] for each in read.json()["data"]["items"] if each["Type"] == "ATTACHMENT"]
    assert [(each["AttachmentId"], each["Status"]) for each in files] == [(first, "APPROVED")]


async def test_a_bot_fetches_what_agents_attach_alone(lightly: Talk) -> None:
    ana = await lightly.chatter()
    desk = await lightly.chatter(role="AGENT", interactionId=ana.contact)
    bot = await lightly.chatter(role="CUSTOM_BOT", interactionId=ana.contact)
    of_customer, of_agent = await attached(lightly, ana), await attached(lightly, desk, token="t2")
    assert (await bot.ask("attachment", AttachmentId=of_customer)).status_code == 403
    assert (await download(lightly, bot, of_agent)).content == b"hello"


async def test_nobody_of_another_chat_gets_it(lightly: Talk) -> None:
    ana = await lightly.chatter()
    identifier = await attached(lightly, ana)
    nobodys = "00000000-0000-4000-8000-000000000000"
    unknown = (await ana.ask("attachment", AttachmentId=nobodys)).json()["Message"]
    for other in (await lightly.chatter(), await lightly.chatter(caller="foreign")):
        for call, body in (
            ("attachment", {"AttachmentId": identifier}),
            ("complete-attachment-upload", {"AttachmentIds": [identifier], "ClientToken": "c1"}),
        ):
            answer = await other.ask(call, **body)
            assert (answer.status_code, answer.json()["Message"].replace(identifier, nobodys)) == (400, unknown)
        with_same_token = await announced(other)
        assert with_same_token["AttachmentId"] != identifier


async def test_another_participant_does_not_complete_it(lightly: Talk) -> None:
    ana = await lightly.chatter()
    desk = await lightly.chatter(role="AGENT", interactionId=ana.contact)
    started = await announced(ana)
    assert await put(lightly, started) == 200
    answer = await desk.ask("complete-attachment-upload", AttachmentIds=[started["AttachmentId"]], ClientToken="c1")
    assert answer.status_code == 403


@pytest.mark.parametrize("light", [{"chat_files": 2}], indirect=True)
async def test_more_files_than_a_chat_may_have(lightly: Talk) -> None:
    ana = await lightly.chatter()
    for number in range(2):
        await announced(ana, token=f"t{number}")
    body = {"AttachmentName": "a.txt", "AttachmentSizeInBytes": 5, "ContentType": "text/plain", "ClientToken": "t3"}
    answer = await ana.ask("start-attachment-upload", **body)
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (402, "ServiceQuotaExceededException")
    assert answer.json()["__type"] == "ServiceQuotaExceededException"


@pytest.mark.parametrize("light", [{"participant_announced": 2}], indirect=True)
async def test_who_announces_and_never_uploads_takes_no_place_from_others(lightly: Talk) -> None:
    ana = await lightly.chatter()
    desk = await lightly.chatter(role="AGENT", interactionId=ana.contact)
    first = await announced(ana, token="t1")
    await announced(ana, token="t2")
    body = {"AttachmentName": "a.txt", "AttachmentSizeInBytes": 5, "ContentType": "text/plain", "ClientToken": "t3"}
    answer = await ana.ask("start-attachment-upload", **body)
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (402, "ServiceQuotaExceededException")
    assert "files.participant_announced" in answer.json()["Message"]
    assert (await announced(ana, token="t1"))["AttachmentId"] == first["AttachmentId"]
    await announced(desk, token="of the agent")
    assert await put(lightly, first) == 200
    completed = await ana.ask("complete-attachment-upload", AttachmentIds=[first["AttachmentId"]], ClientToken="c1")
    assert completed.status_code == 200
    assert (await ana.ask("start-attachment-upload", **body)).status_code == 200
