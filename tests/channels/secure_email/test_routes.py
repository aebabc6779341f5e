"""The six calls of the Secure Email API, on both databases: shapes of answers, mailboxes, what is read, deleted and purged."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from typing import Any

import pytest

from channels.events import InteractionStarted, encode_event
from channels.secure_email.service import Removal
from hub.http.tracing import Tracing
from hub.storage.backends import backend_of
from hub.storage.lock import InUseError
from hub.storage.transactions import Transactions
from tests.channels.secure_email.support import ANA, DESK, MAILS, PDF, PNG, Office, attached

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def head(answer: dict[str, Any]) -> dict[str, Any]:
    """Checks what every answer has; returns the rest."""
    assert UUID.fullmatch(answer.pop("referenceId"))
    assert answer.pop("operationId")
    assert answer.pop("status") == {"code": "SUCCESS", "message": "Done.", "detail": ""}
    return answer


async def test_a_mail_is_taken_and_found(office: Office) -> None:
    sent = await office.call(
        "POST",
        MAILS,
        caller="portal",
        json={
            "operationId": "op-1",
            "data": {
                "from": "Ana@Example.com",
                "fromName": "Ana López",
                "to": "service@bank.example",
                "subject": "Grüße",
                "text": "Hello 東京",
                "html": "<b>Hello</b>",
                "userData": {"customer": 18446744073709551615, "_route": "x"},
                "attachments": [attached("a.png", PNG, contentType="image/png"), attached("b.pdf", PDF)],
            },
        },
    )
    assert (sent.status_code, sent.headers["cache-control"]) == (200, "no-store")
    answer = sent.json()
    assert answer["operationId"] == "op-1"
    identifier = answer["secureMailId"]
    uri = f"https://hub.example.com{MAILS}/{identifier}"
    assert head(answer) == {"secureMailId": identifier, "selfUri": uri}

    found = head(await office.get(f"{MAILS}/{identifier}"))["secureMail"]
    assert UUID.fullmatch(found.pop("interactionId"))
    first, second = found.pop("attachments")
    assert found == {
        "secureMailId": identifier,
        "selfUri": uri,
        "direction": "inbound",
        "status": "unread",
        "address": "ana@example.com",
        "from": "Ana@Example.com",
        "fromName": "Ana López",
        "to": "service@bank.example",
        "subject": "Grüße",
        "text": "Hello 東京",
        "html": "<b>Hello</b>",
        "createdAt": office.clock.now_ms,
    }
    assert first == {
        **attached("a.png", PNG, contentType="image/png"),
        "number": 1,
        "size": len(PNG),
        "selfUri": f"{uri}/attachments/1",
    }
    assert (second["filename"], second["contentType"], second["number"]) == ("b.pdf", "application/pdf", 2)

    (entry,) = head(await office.get(MAILS, address=ANA))["data"]
    assert [name for name in ("text", "html") if name in entry] == []
    assert entry["attachments"] == [{**{k: v for k, v in each.items() if k != "content"}} for each in (first, second)]
    assert head(await office.get(f"{MAILS}/count", address=ANA)) == {"data": {"count": 1}}
    assert head(await office.get(f"{MAILS}/{identifier}/userdata")) == {"data": {"customer": 18446744073709551615}}


async def test_a_reference_id_is_the_one_of_the_log(light: Office) -> None:
    light.app = Tracing(light.app)  # type: ignore[assignment]
    for count in (1, 1000):
        response = await light.call("GET", MAILS, params={"address": ANA, "count": count}, headers={"X-Request-Id": "ticket-7"})
        assert (response.json()["referenceId"], response.headers["x-request-id"]) == ("ticket-7", "ticket-7")


async def test_contents_of_attachments_may_be_left_out(office: Office) -> None:
    identifier = await office.send(attachments=[attached()])
    (entry,) = (await office.mail(identifier, attachments="false"))["attachments"]
    assert entry["size"] == len(PNG)
    assert "content" not in entry


async def test_lists_have_the_newest_first_and_go_on_where_they_are_told(office: Office) -> None:
    for number in range(13):
        await office.send(subject=f"{number}")
    assert await office.subjects() == [f"{number}" for number in range(12, 2, -1)]
    assert await office.subjects(index=10) == ["2", "1", "0"]
    assert await office.subjects(index=3, count=2) == ["9", "8"]
    assert await office.subjects(count=0) == []
    assert await office.subjects(index=13) == []
    assert await office.count() == 13


async def test_who_never_wrote_has_nothing(office: Office) -> None:
    assert await office.subjects(address="nobody@example.com") == []
    assert await office.count(address="nobody@example.com") == 0


async def test_addresses_are_the_same_in_any_case(office: Office) -> None:
    await office.send(**{"from": "ANA@example.COM", "subject": "loud"})
    assert await office.subjects(address="ana@EXAMPLE.com") == ["loud"]


async def test_secureboxes_are_mailboxes_of_their_own(office: Office) -> None:
    await office.send(subject="plain")
    await office.send(subject="loans", securebox="Loans")
    await office.send(subject="cards", securebox="cards1")
    assert await office.subjects() == ["plain"]
    assert await office.subjects(securebox="Loans") == ["loans"]
    assert await office.subjects(securebox="loans") == []
    assert await office.count(securebox="cards1") == 1
    (entry,) = (await office.get(MAILS, address=ANA, securebox="Loans"))["data"]
    assert entry["securebox"] == "Loans"


async def test_tenants_do_not_see_one_another(office: Office) -> None:
    identifier = await office.send(attachments=[attached()])
    for method, path in (
        ("GET", f"{MAILS}/{identifier}"),
        ("GET", f"{MAILS}/{identifier}?read=true"),
        ("GET", f"{MAILS}/{identifier}/userdata"),
        ("GET", f"{MAILS}/{identifier}/attachments/1"),
        ("DELETE", f"{MAILS}/{identifier}"),
        ("DELETE", f"{MAILS}/{identifier}?remove=purge"),
    ):
        response = await office.call(method, path, caller="foreign")
        assert (response.status_code, response.json()["status"]["code"]) == (404, "INVALID_PARAMETER"), path
    listed = await office.call("GET", f"{MAILS}?address={ANA}", caller="foreign")
    assert listed.json()["data"] == []
    answered = await office.call("POST", DESK, caller="foreign", json={"data": {"inReplyTo": identifier, "text": "x"}})
    assert answered.status_code == 400
    assert (await office.mail(identifier))["status"] == "unread"


async def test_status_and_direction_choose(office: Office) -> None:
    first = await office.send(subject="in 1")
    await office.send(subject="in 2")
    await office.reply(to=ANA, subject="out")
    await office.mail(first, read="true")
    assert await office.subjects(status="read") == ["in 1"]
    assert await office.subjects(status="unread") == ["out", "in 2"]
    assert await office.subjects(status="all") == ["out", "in 2", "in 1"]
    assert await office.subjects(status="unread", direction="outbound") == ["out"]
    assert await office.subjects(direction="inbound") == ["in 2", "in 1"]
    assert [await office.count(status=status) for status in ("read", "unread", "all")] == [1, 2, 3]
    assert await office.count(direction="outbound") == 1


async def test_reading_without_read_changes_nothing(office: Office) -> None:
    identifier = await office.send()
    for read in ({}, {"read": "false"}):
        assert (await office.mail(identifier, **read))["status"] == "unread"
    assert [event.type for event in office.recorded] == ["securemail.received"]


@pytest.mark.parametrize("remove", [{}, {"remove": "read"}, {"remove": "true"}, {"remove": "\\"}, {"remove": ""}])
async def test_every_spelling_of_marking_as_read(light: Office, remove: dict[str, str]) -> None:
    identifier = await light.send()
    light.clock.now_ms += 5
    response = await light.call("DELETE", f"{MAILS}/{identifier}", params=remove)
    assert response.status_code == 200
    mail = head(response.json())["secureMail"]
    assert (mail["status"], mail["readAt"], mail["text"]) == ("read", light.clock.now_ms, "Hello")
    assert await light.count(status="read") == 1


async def test_the_first_reading_is_when_it_was_read(office: Office) -> None:
    identifier = await office.send()
    first = (await office.mail(identifier, read="true"))["readAt"]
    office.clock.now_ms += 1000
    assert (await office.mail(identifier, read="true"))["readAt"] == first


async def test_a_deleted_mail_is_in_no_list_but_is_there(office: Office) -> None:
    identifier = await office.send(attachments=[attached()])
    response = await office.call("DELETE", f"{MAILS}/{identifier}?remove=delete")
    assert response.json()["secureMail"]["deletedAt"] == office.clock.now_ms
    assert await office.subjects() == []
    assert await office.count() == 0
    mail = await office.mail(identifier)
    assert (mail["status"], mail["deletedAt"]) == ("unread", office.clock.now_ms)
    assert (await office.call("GET", f"{MAILS}/{identifier}/attachments/1")).content == PNG
    assert (await office.call("DELETE", f"{MAILS}/{identifier}?remove=delete")).status_code == 200
    assert office.mails.counters.deleted == 1


async def test_a_purged_mail_is_gone(office: Office) -> None:
    identifier = await office.send(subject="gone", attachments=[attached()])
    response = await office.call("DELETE", f"{MAILS}/{identifier}?remove=purge")
    assert response.json()["secureMail"]["subject"] == "gone"
    for method, path in (
        ("GET", ""),
        ("GET", "/userdata"),
        ("GET", "/attachments/1"),
        ("DELETE", "?remove=purge"),
        ("DELETE", ""),
    ):
        assert (await office.call(method, f"{MAILS}/{identifier}{path}")).status_code == 404
    assert await office.transactions.read(lambda tx: tx.row("SELECT count(*) FROM secure_mail_attachments")) == (0,)
    assert office.mails.counters.purged == 1


async def test_what_was_deleted_long_ago_is_trimmed(office: Office) -> None:
    old, new, kept = [await office.send(attachments=[attached()]) for _ in range(3)]
    await office.call("DELETE", f"{MAILS}/{old}?remove=delete")
    office.clock.now_ms += 364 * 86_400_000
    await office.call("DELETE", f"{MAILS}/{new}?remove=delete")
    assert await office.retention.trim() == 0
    office.clock.now_ms += 2 * 86_400_000
    assert await office.retention.trim() == 1
    found = [(await office.call("GET", f"{MAILS}/{each}")).status_code for each in (old, new, kept)]
    assert found == [404, 200, 200]
    assert office.mails.counters.trimmed == 1


async def test_an_answer_goes_to_the_mailbox_of_what_it_answers(office: Office) -> None:
    asked = await office.send(subject="Card lost", securebox="cards", **{"from": "Ana@example.com"})
    answered = await office.reply(inReplyTo=asked, **{"from": "service@bank.example", "fromName": "Your bank"})
    mail = await office.mail(answered)
    assert {name: mail.get(name) for name in ("direction", "address", "securebox", "to", "from", "subject", "inReplyTo")} == {
        "direction": "outbound",
        "address": ANA,
        "securebox": "cards",
        "to": "Ana@example.com",
        "from": "service@bank.example",
        "subject": "Re: Card lost",
        "inReplyTo": asked,
    }
    assert "interactionId" not in mail
    again = await office.send(subject="Re: Card lost", securebox="cards", inReplyTo=answered)
    assert (await office.mail(await office.reply(inReplyTo=again)))["subject"] == "Re: Card lost"
    assert (await office.mail(await office.reply(inReplyTo=answered, subject="")))["subject"] == ""
    assert await office.count(securebox="cards") == 5


@pytest.mark.parametrize("data", [{"to": "bob@example.com"}, {"inReplyTo": str(uuid.UUID(int=1))}])
async def test_an_answer_to_something_else_is_refused(office: Office, data: dict[str, Any]) -> None:
    asked = await office.send()
    response = await office.call("POST", DESK, json={"data": {"inReplyTo": asked, "text": "x", **data}})
    assert response.status_code == 400
    assert response.json()["status"]["detail"]["field"] == "data.inReplyTo"
    other_box = await office.call("POST", f"{DESK}?securebox=other", json={"data": {"inReplyTo": asked, "text": "x"}})
    assert other_box.status_code == 400
    consumer = await office.call("POST", f"{MAILS}?securebox=other", json={"data": {"from": ANA, "inReplyTo": asked, "text": "x"}})
    assert consumer.json()["status"] == {
        "code": "INVALID_PARAMETER",
        "message": f'data.inReplyTo: expected a secure e-mail of this mailbox, got "{asked}"',
        "detail": "data.inReplyTo",
    }
    assert await office.count() == 1


# -- attachments --------------------------------------------------------------------------------------------------------


async def test_an_attachment_is_a_file_to_be_saved(office: Office) -> None:
    identifier = await office.send(attachments=[attached('Grüße "1" 100%.pdf', PDF)])
    response = await office.call("GET", f"{MAILS}/{identifier}/attachments/1", caller="viewer")
    assert response.content == PDF
    assert response.headers["content-type"] == "application/pdf"
    assert response.headers["content-disposition"] == (
        "attachment; filename=\"Gr__e _1_ 100_.pdf\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe%20%221%22%20100%25.pdf"
    )
    assert response.headers["cache-control"] == "no-store"
    assert "sandbox" in response.headers["content-security-policy"]


@pytest.mark.parametrize("light", [{"allowed_types": "text/html, image/svg+xml"}], indirect=True)
async def test_pages_are_never_served_as_pages(light: Office) -> None:
    identifier = await light.send(attachments=[attached("a.html", b"<html>"), attached("a.svg", b"<svg >")])
    types = [(await light.call("GET", f"{MAILS}/{identifier}/attachments/{number}")).headers["content-type"] for number in (1, 2)]
    assert types == ["application/octet-stream", "application/octet-stream"]
    assert [each["contentType"] for each in (await light.mail(identifier))["attachments"]] == ["text/html", "image/svg+xml"]


@pytest.mark.parametrize(("number", "status"), [("2", 404), ("0", 400), ("x", 400), ("99999999999", 400)])
async def test_attachments_that_are_not_there(light: Office, number: str, status: int) -> None:
    identifier = await light.send(attachments=[attached()])
    response = await light.call("GET", f"{MAILS}/{identifier}/attachments/{number}")
    assert (response.status_code, response.json()["status"]["detail"]) == (status, "number")


async def test_a_mail_with_large_attachments(office: Office) -> None:
    large = PNG + bytes(range(256)) * 8000
    identifier = await office.send(attachments=[attached("a.png", large), attached("b.png", large)], text="x" * 100_000)
    mail = await office.mail(identifier)
    assert [each["content"] for each in mail["attachments"]] == [attached("", large)["content"]] * 2
    assert len(mail["text"]) == 100_000


# -- interactions -------------------------------------------------------------------------------------------------------


async def test_an_inbound_mail_is_an_interaction_until_it_is_read(office: Office) -> None:
    identifier = await office.send()
    interaction = (await office.mail(identifier))["interactionId"]
    assert await office.announce() == [("cx.interaction.started", interaction, None)]
    tenant, event = office.sink.taken[0]
    assert (tenant, event.source, event.id, event.time_ms) == ("acme", "hub:securemail", str(office.recorded[0].id), office.clock.now_ms)
    assert (event.data.media, event.data.subtype) == ("email", "InboundNew")  # type: ignore[attr-defined]
    office.recorded.clear()
    await office.mail(identifier, read="true")
    assert (await office.announce())[1:] == [("cx.interaction.finished", interaction, "read")]


async def test_started_says_which_mail_it_is(office: Office) -> None:
    identifier = await office.send(subject="Lost card", **{"from": "Ana.Lopez@Example.com"})
    await office.announce()
    data = office.sink.taken[0][1].data
    assert isinstance(data, InteractionStarted)
    assert data.user_data == {"secureMailId": identifier, "address": "ana.lopez@example.com", "subject": "Lost card"}
    assert data.external_id == identifier
    assert json.loads(encode_event(office.sink.taken[0][1]))["data"]["userData"] == data.user_data


async def test_an_event_that_an_earlier_version_recorded_is_told(light: Office) -> None:
    await light.send()
    recorded = light.recorded[0]
    body = {name: value for name, value in json.loads(recorded.body).items() if name in {"interactionId", "secureMailId"}}
    light.recorded[0] = recorded._replace(body=json.dumps(body).encode())
    assert [kind for kind, _, _ in await light.announce()] == ["cx.interaction.started"]


async def test_the_mail_is_found_by_the_id_of_its_interaction(office: Office) -> None:
    identifier = await office.send(attachments=[attached()])
    mail = await office.mail(identifier)
    interaction = mail["interactionId"]
    assert interaction != identifier
    assert await office.mail(interaction) == mail
    assert (await office.call("GET", f"{MAILS}/{interaction}", caller="foreign")).status_code == 404
    assert (await office.mail(interaction, read="true"))["status"] == "read"
    assert (await office.mail(identifier))["status"] == "read"
    assert (await office.call("DELETE", f"{MAILS}/{interaction}?remove=purge")).status_code == 200
    assert (await office.call("GET", f"{MAILS}/{identifier}")).status_code == 404


@pytest.mark.parametrize(("remove", "reason"), [("read", "read"), ("delete", "deleted"), ("purge", "purged")])
async def test_every_removal_stops_the_interaction(office: Office, remove: str, reason: str) -> None:
    identifier = await office.send()
    await office.call("DELETE", f"{MAILS}/{identifier}?remove={remove}")
    assert [(kind, why) for kind, _, why in await office.announce()] == [
        ("cx.interaction.started", None),
        ("cx.interaction.finished", reason),
    ]


async def test_an_interaction_is_stopped_once(office: Office) -> None:
    identifier = await office.send()
    async with office.client() as client:
        readings = [client.get(f"{MAILS}/{identifier}?read=true") for _ in range(6)]
        removals = [client.delete(f"{MAILS}/{identifier}?remove={each}") for each in ("read", "delete", "true", "delete")]
        responses = await asyncio.gather(*readings, *removals)
    assert [response.status_code for response in responses] == [200] * 10
    await office.call("DELETE", f"{MAILS}/{identifier}?remove=purge")
    assert [event.type for event in office.recorded] == ["securemail.received", "securemail.closed"]
    counters = office.mails.counters
    assert (counters.read, counters.deleted, counters.purged, counters.closed) == (1, 1, 1, 1)


async def test_two_hubs_stop_an_interaction_once(office: Office) -> None:
    if office.database.is_sqlite:
        with pytest.raises(InUseError):
            backend_of(office.database)  # there cannot be two
        return
    transactions = Transactions(backend_of(office.database))
    await transactions.start()
    other = Office(transactions, office.database, office.objects)
    try:
        for _ in range(20):
            identifier = await office.send()
            await asyncio.gather(
                office.mails.read("acme", identifier, contents=True),
                other.mails.remove("acme", identifier, Removal.DELETE),
                other.mails.read("acme", identifier, contents=False),
                office.mails.remove("acme", identifier, Removal.READ),
            )
        closed = [event.key for event in (*office.recorded, *other.recorded) if event.type == "securemail.closed"]
        assert len(closed) == len(set(closed)) == 20
        assert office.mails.counters.read + other.mails.counters.read == 20
    finally:
        await transactions.stop()


async def test_a_list_of_many(light: Office) -> None:
    async with light.client() as client:
        for _ in range(8):
            await asyncio.gather(*(client.post(MAILS, json={"data": {"from": ANA, "text": "x"}}) for _ in range(25)))
    assert len(await light.subjects(count=1000)) == 200


async def test_an_outbound_mail_is_no_interaction(office: Office) -> None:
    identifier = await office.reply(to=ANA)
    assert (await office.mail(identifier, read="true"))["status"] == "read"
    await office.call("DELETE", f"{MAILS}/{identifier}?remove=purge")
    assert office.recorded == []
    assert (office.mails.counters.sent, office.mails.counters.closed) == (1, 0)


async def test_a_mail_that_is_refused_leaves_nothing(office: Office) -> None:
    response = await office.call("POST", MAILS, json={"data": {"from": ANA, "inReplyTo": str(uuid.UUID(int=1)), "text": "x"}})
    assert response.status_code == 400
    assert office.recorded == []
    assert await office.count() == 0
    assert (office.mails.counters.received, office.mails.counters.refused) == (0, 1)


async def test_many_mails_at_once(office: Office) -> None:
    async with office.client() as client:
        bodies = [{"data": {"from": ANA, "subject": f"{number}", "attachments": [attached()]}} for number in range(50)]
        responses = await asyncio.gather(*(client.post(MAILS, json=body) for body in bodies))
    assert {response.status_code for response in responses} == {200}
    assert len({response.json()["secureMailId"] for response in responses}) == 50
    assert sorted(await office.subjects(count=100), key=int) == [f"{number}" for number in range(50)]
    assert len(await office.announce()) == 50
    assert office.mails.counters.attachments == 50
