"""What a server does by itself, as CometD's own suites check it: deliver, disconnect, answer remote calls, refuse
(docs/protocol/bayeux.md#cometd-suites).
"""

from __future__ import annotations

from typing import Any

from tests.conformance.clients import Message, is_reply
from tests.conformance.delivery import heard, succeeded
from tests.conformance.rules import CHOICE, MUST, SHOULD, hook, rule

ECHO = "/service/conformance/echo"
KICK = "/service/conformance/kick"
DELIVER_AND_KICK = "/service/conformance/deliver-kick"
CALL = "/service/conformance/call"
VETOED = "/conformance/vetoed"


@rule("4.1.CometDDeliverTest.1", "what a service delivers to a session arrives on that channel, without a subscription", SHOULD)
@hook("echo")
async def test_deliver(client: Any) -> None:
    await succeeded(client.publish(ECHO, {"data": "one"}))
    (event,) = await client.receive()
    assert (event["channel"], event["data"]) == (ECHO, {"data": "one"})


@rule("4.1.CometDDeliverTest.2", "it arrives at that session alone, also when others are subscribed to the channel", SHOULD)
@hook("echo")
async def test_deliver_to_one(client: Any, new_session: Any, channel: str) -> None:
    other = await new_session()
    await succeeded(other.subscribe(ECHO, channel))
    await succeeded(client.publish(ECHO, 1))
    await client.receive()
    assert await heard(other, client, [], channel) == []


@rule("4.1.CometDDeliverTest.3", "what is delivered wakes a connect that is held", SHOULD)
@hook("echo")
async def test_deliver_wakes(client: Any) -> None:
    await client.hold(timeout=30_000)
    await succeeded(client.publish(ECHO, "wake"))
    assert [event["data"] for event in await client.receive()] == ["wake"]


@rule("4.1.CometDDeliverTest.4", "what is delivered and what is published come in the order in which they were sent", SHOULD)
@hook("echo")
async def test_deliver_order(client: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel))
    for number in range(6):
        await succeeded(client.publish(ECHO if number % 2 else channel, number))
    assert [event["data"] for event in await client.receive(6)] == list(range(6))


@rule("4.1.CometDFalsyMessageTest.3", "what is delivered may be false to many languages, and arrives as it is", SHOULD)
@hook("echo")
async def test_deliver_falsy(client: Any) -> None:
    values: list[Any] = ["", 0, False, {}, []]
    for value in values:
        await succeeded(client.publish(ECHO, value))
    assert [event["data"] for event in await client.receive(len(values))] == values


@rule("4.2.ServerSendMessageTest.1", "replies and messages that a service delivers carry no id and no clientId of the publisher", SHOULD)
@hook("echo")
async def test_deliver_leaks_nothing(client: Any) -> None:
    await succeeded(client.publish(ECHO, 1))
    (event,) = await client.receive()
    assert not {"clientId", "id"} & set(event)


def _told_to_stay_away(messages: list[Message]) -> bool:
    """Whether a client that got these messages knows that the server disconnected it (docs/protocol/bayeux.md#disconnect)."""
    ended = [message for message in messages if message["channel"] == "/meta/disconnect" and message.get("successful") is True]
    advised = [message for message in messages if message.get("advice", {}).get("reconnect") == "none"]
    return bool(ended or advised)


async def _came(client: Any, held: Any) -> list[Message]:
    """What a connect brought, with what a server pushed beside it."""
    return [*await held.result(), *getattr(client, "strays", [])]


@rule("4.1.CometDDisconnectServerSideTest.1", "a session that the server disconnects is told so while its connect is held", SHOULD)
@hook("kick")
async def test_kick(client: Any) -> None:
    held = await client.hold(timeout=30_000)
    await client.send(client.message(KICK, data={}))
    assert _told_to_stay_away(await _came(client, held))


@rule("4.1.CometDDisconnectServerSideTest.2", "its held connect is answered, with advice not to reconnect", SHOULD)
@hook("kick")
async def test_kick_answers_the_connect(client: Any) -> None:
    held = await client.hold(timeout=30_000)
    await client.send(client.message(KICK, data={}))
    assert (await held.reply())["advice"]["reconnect"] == "none"


@rule(
    "4.1.CometDDisconnectServerSideTest.3", "a session that the server disconnects between two connects learns it by the next one", SHOULD
)
@hook("kick")
async def test_kick_without_a_connect(client: Any) -> None:
    reply = await client.publish(KICK, {})
    messages = [reply, await client.connect(timeout=0), *getattr(client, "strays", [])]
    assert _told_to_stay_away(messages)


@rule("4.1.CometDDisconnectServerSideTest.4", "after it the session is unknown: 402", SHOULD)
@hook("kick")
async def test_kicked_session_is_unknown(client: Any, channel: str) -> None:
    held = await client.hold(timeout=30_000)
    await client.send(client.message(KICK, data={}))
    await held.result()
    assert (await client.publish(channel, 1))["error"].startswith("402:")


@rule("4.1.CometDDisconnectServerSideTest.5", "it publishes and subscribes no more, also before it has heard of its end", SHOULD)
@hook("kick")
async def test_kicked_session_does_nothing_more(client: Any, channel: str) -> None:
    await client.send(client.message(KICK, data={}))
    await client.settle()
    assert (await client.publish(channel, 1))["successful"] is False
    assert (await client.subscribe(channel))["successful"] is False


@rule("4.1.CometDDisconnectServerSideTest.6", "it hears nothing more, and others go on", SHOULD)
@hook("kick")
async def test_kicked_session_hears_nothing(client: Any, new_session: Any, channel: str) -> None:
    other = await new_session()
    await succeeded(client.subscribe(channel), other.subscribe(channel))
    held = await client.hold(timeout=30_000)
    await client.send(client.message(KICK, data={}))
    await held.result()
    await succeeded(other.publish(channel, 1))
    assert [event["data"] for event in await other.receive()] == [1]
    assert [event for event in client.events if event["channel"] == channel] == []


@rule("4.1.CometDDisconnectServerSideTest.7", "what is delivered right before the server disconnects a session still arrives", SHOULD)
@hook("deliver-kick")
async def test_deliver_then_kick(client: Any) -> None:
    held = await client.hold(timeout=30_000)
    await client.send(client.message(DELIVER_AND_KICK, data={}))
    assert _told_to_stay_away(await _came(client, held))
    assert [event["data"] for event in client.events] == [{"last": True}]


@rule("4.1.CometDRemoteCallTest.1", "a remote call is answered on its channel with its id, its result and successful true", SHOULD)
@hook("call")
async def test_remote_call(client: Any) -> None:
    call = client.message(CALL, data={"fail": False, "value": {"n": 1}})
    await client.exchange(call)
    (result,) = await client.receive()
    assert (result["channel"], result["id"], result["data"]) == (CALL, call["id"], {"n": 1})
    assert result["successful"] is True


@rule("4.1.CometDRemoteCallTest.2", "a remote call that fails is answered with successful false and the data of the failure", SHOULD)
@hook("call")
async def test_remote_call_that_fails(client: Any) -> None:
    call = client.message(CALL, data={"fail": True, "value": {"why": "because"}})
    await client.exchange(call)
    (result,) = await client.receive()
    assert (result["id"], result["successful"], result["data"]) == (call["id"], False, {"why": "because"})


@rule("4.1.CometDRemoteCallTest.3", "the publish of a call is answered too, with success and without data", SHOULD)
@hook("call")
async def test_remote_call_is_acknowledged(client: Any) -> None:
    call = client.message(CALL, data={"fail": True, "value": 1})
    (reply,) = [message for message in await client.exchange(call) if is_reply(message)]
    assert (reply["id"], reply["channel"], reply["successful"]) == (call["id"], CALL, True)


@rule("4.1.CometDRemoteCallTest.4", "a result may be false to many languages", SHOULD)
@hook("call")
async def test_remote_call_with_falsy_results(client: Any) -> None:
    for value in ("", 0, False, {}, []):
        await client.publish(CALL, {"fail": False, "value": value})
        assert [result["data"] for result in await client.receive()] == [value]


@rule("4.1.CometDRemoteCallTest.5", "calls that are under way at once are each answered by their id", SHOULD)
@hook("call")
async def test_remote_calls_at_once(client: Any) -> None:
    calls = [client.message(CALL, data={"fail": False, "value": number}) for number in range(10)]
    await client.exchange(*calls)
    results = await client.receive(10)
    assert {result["id"]: result["data"] for result in results} == {call["id"]: number for number, call in enumerate(calls)}


@rule(
    "4.1.CometDRemoteCallTest.6", "a call and its result are the caller's: others that are subscribed to the channel hear neither", SHOULD
)
@hook("call")
async def test_remote_call_is_nobody_elses(client: Any, new_session: Any, channel: str) -> None:
    other = await new_session()
    await succeeded(other.subscribe(CALL), other.subscribe(channel))
    await client.publish(CALL, {"fail": False, "value": 1})
    await client.receive()
    assert await heard(other, client, [], channel) == []


@rule("4.2.ExtensionTest.1", "what an extension refuses is answered 404::message_deleted", CHOICE)
@hook("vetoed")
async def test_veto(client: Any) -> None:
    reply = await client.publish(VETOED, 1)
    assert (reply["successful"], reply["error"]) == (False, "404::message_deleted")


@rule("4.2.ExtensionTest.2", "what an extension refuses reaches nobody", MUST)
@hook("vetoed")
async def test_veto_reaches_nobody(client: Any, new_session: Any, channel: str) -> None:
    other = await new_session()
    await succeeded(other.subscribe(VETOED), other.subscribe(channel))
    await client.publish(VETOED, 1)
    assert await heard(other, client, [], channel) == []


@rule("4.2.ExtensionTest.3", "what an extension refuses harms no other message of its request", SHOULD)
@hook("vetoed")
async def test_veto_in_a_batch(client: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel))
    messages = await client.exchange(client.message(VETOED, data=1), client.message(channel, data=2))
    assert [message["successful"] for message in messages if is_reply(message)] == [False, True]
    assert [event["data"] for event in await client.receive()] == [2]


@rule("4.2.CustomResponseOnSecurityPolicyDenyTest.1", "a handshake that the policy denies fails: 403::handshake_denied", CHOICE)
@hook("denied")
async def test_denied_handshake(new_client: Any) -> None:
    reply = await new_client(token="bad").handshake()
    assert (reply["successful"], reply["error"]) == (False, "403::handshake_denied")
    assert "clientId" not in reply


@rule("4.1.CometDHandshakeFailureTest.1", "one that is denied is advised not to come back by itself", SHOULD)
@hook("denied")
async def test_denied_handshake_advice(new_client: Any) -> None:
    assert (await new_client(token="bad").handshake())["advice"]["reconnect"] == "none"


@rule("4.1.CometDMessagesAfterFailedHandshakeTest.1", "after a handshake that was denied nothing is served")
@hook("denied")
async def test_after_a_denied_handshake(new_client: Any, channel: str) -> None:
    client = new_client(token="bad")
    await client.handshake()
    for reply in (await client.subscribe(channel), await client.publish(channel, 1), await client.connect(timeout=0)):
        assert (reply["successful"], bool(reply["error"])) == (False, True)


@rule("4.2.ConcurrentHandshakeFailureSubscribePublishTest.1", "messages that come at once with a handshake that is denied fail")
@hook("denied")
async def test_beside_a_denied_handshake(new_client: Any, channel: str) -> None:
    client = new_client(token="bad")
    messages = [client.handshake_message(), client.message("/meta/subscribe", subscription=channel), client.message(channel, data=1)]
    replies = [await (await client.send(message)).reply() for message in messages]
    assert [reply["successful"] for reply in replies] == [False] * 3
