"""Channels by REST: made, changed, removed by administrators; each tenant has its own, and each role what it may."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.channels.messaging.support import API, CALLERS, MAIL, SMS, WITHIN_S, Exchange, mail_to, receipt, text_from, text_to


async def test_a_channel_from_beginning_to_end(exchange: Exchange) -> None:
    made = await exchange.rest("POST", "", {"id": SMS, "type": "sms", "webhook": exchange.receiver.url, "sender": {"id": "Shop"}})
    assert made.pop("secret").startswith("whsec_")
    assert made == {
        "id": SMS,
        "type": "sms",
        "sender": {"id": "Shop"},
        "webhook": {"url": exchange.receiver.url, "enabled": True, "disabledReason": ""},
        "throttle": "endpoint",
        "endpoint": made["endpoint"],
        "createdAt": exchange.clock.now_ms,
        "oldSecretsUntil": [],
    }
    assert await exchange.rest("GET") == {"channels": [made]}
    assert await exchange.rest("GET", f"/{SMS}") == made
    changed = await exchange.rest("PATCH", f"/{SMS}", {"type": "whatsapp", "sender": None, "enabled": False, "throttle": "order"})
    assert changed["throttle"] == "order"
    assert (changed["type"], "sender" in changed) == ("whatsapp", False)
    assert changed["webhook"] == {"url": exchange.receiver.url, "enabled": False, "disabledReason": "by an administrator"}
    without = await exchange.rest("PATCH", f"/{SMS}", {"webhook": None})
    assert "webhook" not in without
    assert await exchange.rest("DELETE", f"/{SMS}") == without
    assert await exchange.rest("GET") == {"channels": []}
    assert (await exchange.rest("GET", f"/{SMS}", status=404))["detail"]["field"] == "channelId"


async def test_they_are_listed_by_their_ids(light: Exchange) -> None:
    for identifier in ("b", "c", "a"):
        await light.channel(identifier)
    assert [each["id"] for each in (await light.rest("GET"))["channels"]] == ["a", "b", "c"]


async def test_what_is_left_out_stays(light: Exchange) -> None:
    await light.channel(sender={"id": "Shop", "name": "The shop"})
    before = await light.rest("GET", f"/{SMS}")
    assert await light.rest("PATCH", f"/{SMS}", {}) == before
    assert (await light.rest("PATCH", f"/{SMS}", {"sender": {"id": "Shop"}}))["sender"] == {"id": "Shop"}


@pytest.mark.parametrize("identifier", [SMS, "+16504661149", "company.com", "help@company.com", "a" * 100, "urn:x~y-z_1"])
async def test_ids_that_serve(light: Exchange, identifier: str) -> None:
    await light.channel(identifier)
    await light.come(text_from(), channel=identifier)
    await light.until(lambda: len(light.heard.messages(identifier)) == 1)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"id": "", "type": "sms"}, "id"),
        ({"id": "-a", "type": "sms"}, "id"),
        ({"id": "..", "type": "sms"}, "id"),
        ({"id": "a/b", "type": "sms"}, "id"),
        ({"id": "a*", "type": "sms"}, "id"),
        ({"id": "ü", "type": "sms"}, "id"),
        ({"id": "a\n", "type": "sms"}, "id"),
        ({"id": "a" * 101, "type": "sms"}, "id"),
        ({"type": "sms"}, "id"),
        ({"id": "a"}, "type"),
        ({"id": "a", "type": ""}, "type"),
        ({"id": "a", "type": "SMS"}, "type"),
        ({"id": "a", "type": "s" * 33}, "type"),
        ({"id": "a", "type": "sms", "webhook": "ftp://a.example/"}, "webhook"),
        ({"id": "a", "type": "sms", "webhook": "http://10.0.0.1/"}, "webhook"),
        ({"id": "a", "type": "sms", "webhook": "http://169.254.169.254/"}, "webhook"),
        ({"id": "a", "type": "sms", "secret": "short"}, "secret"),
        ({"id": "a", "type": "sms", "throttle": "all"}, "throttle"),
        ({"id": "a", "type": "sms", "sender": {"id": "a\n"}}, "sender.id"),
        ({"id": "a", "type": "sms", "sender": {"id": "", "name": "x"}}, "sender.id"),
        ({"id": "a", "type": "sms", "sender": {"id": "x", "name": "y" * 256}}, "sender.name"),
        ({"id": "a", "type": "sms", "enabled": True}, "enabled"),
        ({"id": "a", "type": "sms", "webhok": "https://a.example/"}, "webhok"),
    ],
)
async def test_a_channel_that_is_wrong(light: Exchange, body: dict[str, Any], field: str) -> None:
    refused = await light.rest("POST", "", body, status=400)
    assert (refused["code"], refused["detail"]["field"]) == (400, field)
    assert await light.rest("GET") == {"channels": []}


async def test_an_id_is_there_once_in_a_tenant(exchange: Exchange) -> None:
    await exchange.channel()
    await exchange.channel(caller="foreign")
    refused = await exchange.rest("POST", "", {"id": SMS, "type": "sms"}, status=409)
    assert refused["detail"]["field"] == "id"
    assert len((await exchange.rest("GET"))["channels"]) == 1


@pytest.mark.parametrize("light", [{"max_channels": 1}], indirect=True, ids=["one"])
async def test_a_tenant_has_so_many_and_no_more(light: Exchange) -> None:
    await light.channel()
    assert (await light.rest("POST", "", {"id": "999", "type": "sms"}, status=400))["detail"]["field"] == "channels"
    await light.channel("999", caller="foreign")


async def test_a_channel_that_is_made_again_is_another_one(exchange: Exchange) -> None:
    await exchange.channel()
    await exchange.come(text_from(messageId="m1"))
    await exchange.rest("DELETE", f"/{SMS}")
    await exchange.channel(secret="another secret")
    assert (await exchange.rest("GET", f"/{SMS}/messages"))["messages"] == []
    assert (await exchange.third("GET", f"/{SMS}/media/x")).status_code == 403, "the old secret is gone"
    await exchange.come(text_from(messageId="m1"), secret="another secret")
    assert exchange.counters.repeats == 0


async def test_what_waits_for_a_channel_that_is_removed_is_dead(exchange: Exchange) -> None:
    await exchange.channel()
    await exchange.rest("PATCH", f"/{SMS}", {"enabled": False})
    identifier = await exchange.go(text_to())
    await exchange.told(identifier, "accepted")

    async def deliveries() -> list[Any]:
        return await exchange.transactions.read(lambda tx: list(tx.rows("SELECT state, error FROM deliveries")))

    async with asyncio.timeout(WITHIN_S):  # it waits only once the outbox has made a delivery of it
        while not await deliveries():
            await asyncio.sleep(0.005)
    await exchange.rest("DELETE", f"/{SMS}")
    assert await deliveries() == [("dead", "the endpoint was removed")]
    assert exchange.receiver.got == []


async def test_its_endpoint_is_nobody_elses(light: Exchange) -> None:
    """An event for every endpoint of the tenant does not go to a channel's webhook."""
    await light.channel()
    await light.transactions.write(lambda tx: light.outbox.add(tx, tenant="acme", type="thing.started", key="k", body=b"{}"))
    identifier = await light.go(text_to())
    await light.told(identifier, "accepted", "sent")
    assert [each["type"] for each in light.receiver.bodies()] == ["Text"]


# -- tenants --------------------------------------------------------------------------------------------------------------


async def test_tenants_do_not_see_one_anothers_channels(exchange: Exchange) -> None:
    await exchange.channel()
    (identifier,) = await exchange.come(text_from())
    assert await exchange.rest("GET", caller="foreign") == {"channels": []}
    calls: list[tuple[str, str, Any]] = [
        ("GET", f"/{SMS}", None),
        ("PATCH", f"/{SMS}", {"enabled": False}),
        ("DELETE", f"/{SMS}", None),
        ("POST", f"/{SMS}/rotate-secret", {}),
        ("GET", f"/{SMS}/messages", None),
        ("POST", f"/{SMS}/messages", text_to()),
        ("GET", f"/{SMS}/messages/{identifier}", None),
    ]
    for method, path, body in calls:
        refused = await exchange.rest(method, path, body, caller="foreign", status=404)
        assert refused["detail"]["field"] == "channelId", (method, path)
    assert (await exchange.rest("GET", f"/{SMS}"))["webhook"]["enabled"] is True


async def test_tenants_may_use_the_same_ids(exchange: Exchange) -> None:
    await exchange.channel(secret="secret of acme")
    await exchange.channel(secret="secret of other", caller="foreign")
    await exchange.come(text_from("for acme", messageId="m1"), secret="secret of acme")
    await exchange.come(text_from("for other", messageId="m1"), secret="secret of other", ccid="other")
    await exchange.until(lambda: bool(exchange.heard.messages()) and bool(exchange.heard.messages(tenant="other")))
    assert [each["message"]["text"] for each in exchange.heard.messages()] == ["for acme"]
    assert [each["message"]["text"] for each in exchange.heard.messages(tenant="other")] == ["for other"]


# -- roles ----------------------------------------------------------------------------------------------------------------

CALLS: list[tuple[str, str, Any, str]] = [
    ("GET", "", None, "read"),
    ("POST", "", {"id": "999", "type": "sms"}, "admin"),
    ("GET", f"/{SMS}", None, "read"),
    ("PATCH", f"/{SMS}", {}, "admin"),
    ("POST", f"/{SMS}/rotate-secret", {}, "admin"),
    ("DELETE", f"/{SMS}", None, "admin"),
    ("GET", f"/{SMS}/messages", None, "read"),
    ("POST", f"/{SMS}/messages", text_to(), "write"),
]


@pytest.mark.parametrize(("method", "path", "body", "needs"), CALLS, ids=[f"{each[0]} {each[1] or '/'}" for each in CALLS])
@pytest.mark.parametrize("caller", ["admin", "desk", "viewer", "wall"])
async def test_who_may_do_what(light: Exchange, caller: str, method: str, path: str, body: Any, needs: str) -> None:
    await light.channel()
    may = any(granted in ("/messaging/**", f"/messaging/{needs}") for granted in CALLERS[caller][1])
    await light.rest(method, path, body, caller=caller, status=200 if may else 403)


@pytest.mark.parametrize(("method", "path", "body", "needs"), CALLS, ids=[f"{each[0]} {each[1] or '/'}" for each in CALLS])
async def test_nobody_may_do_anything(light: Exchange, method: str, path: str, body: Any, needs: str) -> None:
    answer = await light.send(method, f"{API}{path}", json=body)
    assert (answer.status_code, answer.json()["status"]["code"]) == (401, 401), needs


# -- messages by REST -----------------------------------------------------------------------------------------------------


async def listed(exchange: Exchange, **params: Any) -> tuple[list[str], str | None]:
    """The ids of a page, and where the next one begins."""
    page = await exchange.rest("GET", f"/{SMS}/messages", params=params)
    return [each["id"] for each in page["messages"]], page.get("cursor")


async def test_pages_of_messages_the_newest_first(exchange: Exchange) -> None:
    await exchange.channel()
    ids = await exchange.come(*(text_from(str(number)) for number in range(5)))
    first, cursor = await listed(exchange, limit=2)
    second, behind = await listed(exchange, limit=2, cursor=cursor)
    third, end = await listed(exchange, limit=2, cursor=behind)
    assert [*first, *second, *third] == ids[::-1]
    assert (cursor, behind, end) == (ids[3], ids[1], None)


async def test_lists_say_nothing_of_what_was_said(light: Exchange) -> None:
    await light.channel()
    await light.come(text_from())
    (entry,) = (await light.rest("GET", f"/{SMS}/messages"))["messages"]
    assert "message" not in entry


async def test_messages_by_state_and_direction(exchange: Exchange) -> None:
    await exchange.channel()
    (inbound,) = await exchange.come(text_from())
    outbound = await exchange.go(text_to())
    await exchange.told(outbound, "accepted", "sent")
    await exchange.come(receipt(outbound))
    assert (await listed(exchange, direction="inbound"))[0] == [inbound]
    assert (await listed(exchange, direction="outbound"))[0] == [outbound]
    assert (await listed(exchange, state="delivered"))[0] == [outbound]
    assert (await listed(exchange, state="delivered", direction="inbound"))[0] == []


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"state": "lost"}, "state"),
        ({"direction": "up"}, "direction"),
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"cursor": "1-x"}, "cursor"),
        ({"cursor": "1-99999999999999999"}, "cursor"),
        ({"cursor": "\u0661-0"}, "cursor"),
    ],
)
async def test_a_page_that_is_none(light: Exchange, params: dict[str, str], field: str) -> None:
    await light.channel()
    assert (await light.rest("GET", f"/{SMS}/messages", params=params, status=400))["detail"]["field"] == field


@pytest.mark.parametrize("identifier", ["1-0", "x", "%00", "01-0", "1-99999999999999999", "-1-0"])
async def test_a_message_that_is_not_there(light: Exchange, identifier: str) -> None:
    await light.channel()
    assert (await light.rest("GET", f"/{SMS}/messages/{identifier}", status=404))["detail"]["field"] == "messageId"


async def test_a_message_of_another_channel_is_not_there(light: Exchange) -> None:
    await light.channel()
    await light.channel(MAIL, "email")
    identifier = await light.go(mail_to("ana@example.com"), MAIL)
    assert (await light.rest("GET", f"/{SMS}/messages/{identifier}", status=404))["detail"]["field"] == "messageId"
