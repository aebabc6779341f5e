"""Sessions that are not known, or belong to somebody else (docs/protocol/bayeux.md#unknown-sessions), and several sessions of one browser
(docs/protocol/bayeux.md#browsers).
"""

from __future__ import annotations

from typing import Any

from tests.conformance.delivery import succeeded
from tests.conformance.rules import CHOICE, HTTP, LONG_POLLING, SHOULD, WEBSOCKET, rule

UNKNOWN = "402::session_unknown"
NOBODY = "0000000000000000000000"


@rule("1.10.1", "a connect of an unknown session fails, and is told to shake hands")
async def test_connect(new_client: Any) -> None:
    reply = await new_client().connect(clientId=NOBODY)
    assert reply["successful"] is False
    assert reply["error"]
    assert reply["advice"]["reconnect"] == "handshake"


@rule(
    "1.10.2", "the error of an unknown session is 402::session_unknown, on every channel: clients read 401 and 403 as failed logins", CHOICE
)
async def test_error(new_client: Any, channel: str) -> None:
    client = new_client()
    client.client_id = NOBODY
    for reply in (
        await client.connect(),
        await client.disconnect(),
        await client.subscribe(channel),
        await client.unsubscribe(channel),
        await client.publish(channel, 1),
        await client.publish("/service/conformance", 1),
        await client.publish("/meta/nothing", 1),
    ):
        assert (reply["successful"], reply["error"]) == (False, UNKNOWN)


@rule("1.10.3", "a message without clientId is of an unknown session")
async def test_no_client_id(client: Any, channel: str) -> None:
    for reply in (
        await client.connect(clientId=None),
        await client.subscribe(channel, clientId=None),
        await client.publish(channel, 1, clientId=None),
    ):
        assert reply["successful"] is False


@rule("C3.advice.unknown", "with 402 a connect gets the whole advice: reconnect handshake, interval 0, timeout", CHOICE)
async def test_whole_advice(new_client: Any) -> None:
    advice = (await new_client().connect(clientId=NOBODY))["advice"]
    assert (set(advice), advice["reconnect"], advice["interval"]) == ({"reconnect", "interval", "timeout"}, "handshake", 0)


@rule("1.10.4", "on other channels than /meta/connect an unknown session gets no advice", CHOICE)
async def test_no_advice(new_client: Any, channel: str) -> None:
    client = new_client()
    client.client_id = NOBODY
    replies = [await client.subscribe(channel), await client.publish(channel, 1), await client.disconnect()]
    assert [reply for reply in replies if "advice" in reply] == []


@rule("1.10.5", "the reply to an unknown session still has channel, id and subscription", SHOULD)
async def test_rest_of_the_reply(new_client: Any, channel: str) -> None:
    reply = await new_client().subscribe(channel, clientId=NOBODY, id="echo")
    assert (reply["channel"], reply["id"], reply["subscription"]) == ("/meta/subscribe", "echo", channel)


@rule("1.10.6", "one request is of one session: a message with the clientId of another is refused, that of the first is not")
async def test_second_message_of_another_session(client: Any, new_session: Any, channel: str) -> None:
    victim = await new_session()
    await succeeded(victim.subscribe(channel))
    replies = await client.exchange(
        client.message(f"{channel}/mine", data=1),
        client.message(channel, data="stolen", clientId=victim.client_id),
        client.message("/meta/disconnect", clientId=victim.client_id),
    )
    assert [reply["successful"] for reply in replies] == [True, False, False]
    assert (await client.publish(channel, "fair"))["successful"] is True
    assert [event["data"] for event in await victim.receive()] == ["fair"]


@rule("1.10.7", "a clientId without the session's BAYEUX_BROWSER cookie is of no use: 402", CHOICE, [LONG_POLLING])
async def test_no_cookie(client: Any, channel: str) -> None:
    kept = dict(client.cookies)
    for cookies in ({}, {"BAYEUX_BROWSER": "0" * 32}):
        client.cookies = dict(cookies)
        reply = await client.connect(timeout=0)
        assert (reply["successful"], reply["error"], reply["advice"]["reconnect"]) == (False, UNKNOWN, "handshake")
        assert (await client.publish(channel, 1))["error"] == UNKNOWN
    client.cookies = kept
    assert (await client.connect(timeout=0))["successful"] is True


@rule("1.10.8", "a request with a wrong cookie does not disturb the session: its held connect goes on", CHOICE, [LONG_POLLING])
async def test_wrong_cookie_disturbs_nothing(client: Any, new_client: Any) -> None:
    held = await client.hold()
    thief = new_client()
    assert (await thief.connect(clientId=client.client_id))["error"] == UNKNOWN
    assert (await thief.disconnect(clientId=client.client_id))["error"] == UNKNOWN
    assert not held.done
    assert (await held.reply())["successful"] is True


@rule(
    "C2.cookie.socket",
    "a session made over long-polling without credentials answers on a WebSocket to its cookie, and not to another session's",
    CHOICE,
    [WEBSOCKET],
)
async def test_cookie_on_a_socket(new_client: Any, channel: str) -> None:
    polling, other = new_client(LONG_POLLING), new_client(LONG_POLLING)
    await polling.start()
    await other.start()
    thief, owner = (new_client(headers=[("Cookie", f"BAYEUX_BROWSER={each.cookies['BAYEUX_BROWSER']}")]) for each in (other, polling))
    assert (await thief.subscribe(channel, clientId=polling.client_id))["error"] == UNKNOWN
    assert (await owner.subscribe(channel, clientId=polling.client_id))["successful"] is True


@rule(
    "C2.id.socket",
    "a WebSocket that was opened before there was a cookie goes on with the session by its clientId alone, as Faye's does",
    CHOICE,
    [WEBSOCKET],
)
async def test_client_id_on_a_socket(new_client: Any, channel: str) -> None:
    socket, polling = new_client(), new_client(LONG_POLLING)
    await polling.start()
    assert (await socket.subscribe(channel, clientId=polling.client_id))["successful"] is True


@rule("C2.id.site", "a page of another site, whose browser withholds the cookie, goes on by clientId and Origin", CHOICE, [LONG_POLLING])
async def test_client_id_of_a_page_of_another_site(new_client: Any, channel: str) -> None:
    page, own = (new_client(headers=[("Origin", origin)]) for origin in ("https://desk.example", "https://evil.example"))
    await page.start()
    for client, identifier, good in ((page, page.client_id, True), (own, page.client_id, False)):
        client.cookies = {}
        reply = await client.subscribe(channel, clientId=identifier)
        assert (reply["successful"], reply.get("error")) == ((True, None) if good else (False, UNKNOWN))


@rule("1.10.9", "a new WebSocket with a known clientId takes the session over: events go to it", CHOICE, [WEBSOCKET])
async def test_new_socket(client: Any, new_client: Any, new_session: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel))
    identifier = client.client_id
    await client.close()
    again = new_client()
    again.client_id = identifier
    assert (await again.connect(timeout=0))["successful"] is True
    await (await new_session()).publish(channel, 1)
    assert [event["data"] for event in await again.receive()] == [1]


@rule("1.10.10", "what came while a session had no WebSocket waits for its new one", CHOICE, [WEBSOCKET])
async def test_nothing_is_lost_between_sockets(client: Any, new_client: Any, new_session: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel))
    identifier = client.client_id
    await client.close()
    publisher = await new_session()
    await publisher.publish(channel, 1)
    await publisher.publish(channel, 2)
    again = new_client()
    again.client_id = identifier
    assert (await again.connect(timeout=0))["successful"] is True
    assert [event["data"] for event in await again.receive(2)] == [1, 2]


@rule("1.10.11", "a session that was made over one transport goes on over another, when its cookie comes along", CHOICE, [WEBSOCKET])
async def test_from_polling_to_socket_and_back(new_client: Any, new_session: Any, channel: str) -> None:
    polling = await new_session(LONG_POLLING)
    await succeeded(polling.subscribe(channel))
    socket = new_client(headers=[("Cookie", f"BAYEUX_BROWSER={polling.cookies['BAYEUX_BROWSER']}")])
    socket.client_id = polling.client_id
    assert (await socket.connect(timeout=0))["successful"] is True
    publisher = await new_session()
    await publisher.publish(channel, "socket")
    assert [event["data"] for event in await socket.receive()] == ["socket"]
    await socket.close()
    await publisher.publish(channel, "polling")
    assert [event["data"] for event in await polling.receive()] == ["polling"]


@rule("1.15.1", "two sessions of one browser are both served: both hold a connect, both get their events", CHOICE, [LONG_POLLING])
async def test_two_tabs(client: Any, new_client: Any, new_session: Any, channel: str) -> None:
    tab = new_client(cookies=client.cookies)
    await tab.start()
    await succeeded(client.subscribe(f"{channel}/1"), tab.subscribe(f"{channel}/2"))
    held = [await client.hold(), await tab.hold()]
    publisher = await new_session()
    await publisher.publish(f"{channel}/1", 1)
    await publisher.publish(f"{channel}/2", 2)
    assert [[message.get("data") for message in await one.result()] for one in held] == [[1, None], [2, None]]


@rule("1.15.2", "a second tab is served one way or another: its connects succeed or say multiple-clients", SHOULD, HTTP)
async def test_second_tab(client: Any, new_client: Any) -> None:
    held = await client.hold()
    tab = new_client(cookies=client.cookies)
    await tab.handshake()
    await tab.connect()
    reply = await tab.connect(timeout=200)
    assert reply["successful"] is True or reply["advice"]["multiple-clients"] is True
    await held.result()


@rule("1.15.3", "sessions of one browser do not hear each other's events", SHOULD, [LONG_POLLING])
async def test_tabs_are_apart(client: Any, new_client: Any, channel: str) -> None:
    tab = new_client(cookies=client.cookies)
    await tab.start()
    await succeeded(client.subscribe(channel))
    await tab.publish(channel, 1)
    assert [event["data"] for event in await client.receive()] == [1]
    assert [message["channel"] for message in await tab.exchange(tab.connect_message(timeout=0))] == ["/meta/connect"]
