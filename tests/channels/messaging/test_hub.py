"""Messaging in a whole hub: what subscribers hear, what a crash leaves, what /metrics shows."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable

import httpx

from hub.client import BayeuxClient, Message
from tests.channels.messaging.support import API, NEXUS, SECRET, SMS, WITHIN_S, Receiver, receipt, signature, text_from, text_to
from tests.conftest import HubFactory
from tests.support.hub_process import HubProcess

LOCAL = {
    "HUB_OUTBOX__ALLOWED_NETWORKS": '["127.0.0.0/8"]',
    "HUB_OUTBOX__RETRY_S": "[0.2,0.2,0.2]",
    "HUB_OUTBOX__JITTER": "0",
    "HUB_OUTBOX__THROTTLE_S": "0.2",
}
CHANNEL = f"{NEXUS}/{SMS}/messages"


def come(hub: HubProcess, message: object) -> httpx.Response:
    """A third party sends a message or a receipt."""
    body = json.dumps({"messages": [message]}).encode()
    headers = {"x-ccid": "demo", "X-Hub-Signature": signature(body), "Content-Type": "application/json"}
    return httpx.post(f"{hub.url}{NEXUS}/{SMS}/messages", content=body, headers=headers, timeout=20)


def add(hub: HubProcess, webhook: str) -> None:
    """Make the channel by the command; the hub follows."""
    hub.command("channel", "add", SMS, "--type", "sms", "--secret", SECRET, "--tenant", "demo", "--webhook", webhook)


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not done():
            await asyncio.sleep(0.02)


async def test_subscribers_hear_of_every_state(hub_process: HubFactory) -> None:
    hub = hub_process(environment=LOCAL)
    receiver = Receiver()
    async with receiver.listening(), BayeuxClient(hub.url, token=hub.token) as client, client.subscribe(CHANNEL) as heard:
        made = await asyncio.to_thread(hub.post, API, {"id": SMS, "type": "sms", "webhook": receiver.url, "secret": SECRET})
        assert made.status_code == 200, made.text
        inbound = (await asyncio.to_thread(come, hub, text_from())).json()["data"]["ids"][0]
        outbound = (await asyncio.to_thread(hub.post, f"{API}/{SMS}/messages", text_to())).json()["data"]["id"]
        told: list[Message] = []
        async with asyncio.timeout(WITHIN_S):
            async for message in heard:
                told.append(message)
                state = message.data["state"]
                if state == "sent":
                    assert (await asyncio.to_thread(come, hub, receipt(outbound))).status_code == 200
                if state == "delivered":
                    break
    assert [(each.data["id"], each.data["state"]) for each in told] == [
        (inbound, "received"),
        (outbound, "accepted"),
        (outbound, "sent"),
        (outbound, "delivered"),
    ]
    metrics = (await asyncio.to_thread(hub.get, "/metrics")).text
    for name in (
        'messages_total{direction="inbound"}',
        'messages_total{direction="outbound"}',
        'deliveries_total{outcome="sent"}',
        'receipts_total{outcome="applied"}',
    ):
        assert re.search(rf"^hub_messaging_{re.escape(name)} 1(\.0)?$", metrics, re.MULTILINE), name


async def test_what_was_accepted_outlives_a_crash(hub_process: HubFactory) -> None:
    hub = hub_process(environment=LOCAL)
    receiver = Receiver()
    async with receiver.listening():
        await asyncio.to_thread(add, hub, receiver.url)
        receiver.answers = [None]
        ids = [(await asyncio.to_thread(hub.post, f"{API}/{SMS}/messages", text_to(str(each)))).json()["data"]["id"] for each in range(3)]
        await until(lambda: len(receiver.got) == 1)
        await asyncio.to_thread(hub.kill9)
        receiver.answers = [(200, b"{}")]
        await asyncio.to_thread(hub.start)
        await until(lambda: len({each["channel"]["messageId"] for each in receiver.bodies()}) == 3)
        assert list(dict.fromkeys(each["channel"]["messageId"] for each in receiver.bodies())) == ids

        def states() -> set[str]:
            return {each["state"] for each in hub.get(f"{API}/{SMS}/messages").json()["data"]["messages"]}

        async with asyncio.timeout(WITHIN_S):
            while await asyncio.to_thread(states) != {"sent"}:
                await asyncio.sleep(0.05)
