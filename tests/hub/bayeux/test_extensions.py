"""What the users of a hub write: extensions that look at messages, and services."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from hub.bayeux.extensions import Extension, ExtensionMessage, SessionExtension
from hub.bayeux.server import BayeuxServer
from hub.bayeux.services import RemoteCallError, ServiceMessage
from hub.bayeux.session import ServerSession
from hub.core.frames import array
from hub.core.limits import Limits
from tests.hub.bayeux.harness import Bayeux, Client, Json, by_token


class Spy(Extension):
    """Keeps what it sees; a test replaces what it does with it."""

    def __init__(self, name: str = "spy", log: list[str] | None = None) -> None:
        self.name = name
        self.log = [] if log is None else log
        self.bayeux: BayeuxServer | None = None
        self.refuse = ""
        self.fail = ""

    def started(self, bayeux: BayeuxServer) -> None:
        self.bayeux = bayeux

    async def incoming(self, session: ServerSession | None, message: ExtensionMessage) -> bool:
        await asyncio.sleep(0)
        return self._see("in", session, message)

    def outgoing(self, session: ServerSession | None, message: ExtensionMessage) -> bool:
        return self._see("out", session, message)

    def _see(self, way: str, session: ServerSession | None, message: ExtensionMessage) -> bool:
        what = f"{way} {message.channel}"
        self.log.append(f"{self.name} {what} {'-' if session is None else session.principal.subject}")
        if what == self.fail:
            raise KeyError("a fault of the user's")
        return what != self.refuse


def with_extensions(*extensions: Extension) -> Bayeux:
    bayeux = Bayeux()
    bayeux.fault_sources = []  # type: ignore[attr-defined]
    bayeux.server = BayeuxServer(
        bayeux.hub,
        bayeux.tokens,
        extensions=extensions,
        on_fault=lambda source, fault: bayeux.fault_sources.append((source, fault)),  # type: ignore[attr-defined]
    )
    return bayeux


async def opened(bayeux: Bayeux) -> Client:
    client = await bayeux.client()
    await client.subscribed("/a")
    return client


async def test_they_see_all_that_comes_and_goes() -> None:
    spy = Spy()
    bayeux = with_extensions(spy)
    assert spy.bayeux is bayeux.server
    client = await opened(bayeux)
    await client.post(client.message("/a", data=1))
    assert spy.log == [
        "spy in /meta/handshake -",
        "spy out /meta/handshake ann",
        "spy in /meta/connect ann",
        "spy out /meta/connect ann",
        "spy in /meta/subscribe ann",
        "spy out /meta/subscribe ann",
        "spy in /a ann",
        "spy out /a -",  # the event, once, whoever hears it
        "spy out /a ann",  # the reply
    ]


async def test_incoming_in_order_outgoing_in_reverse() -> None:
    log: list[str] = []
    bayeux = with_extensions(Spy("first", log), Spy("second", log))
    await Client(bayeux).shake()
    assert [line.split()[0] for line in log] == ["first", "second", "second", "first"]


async def test_what_nobody_touches_is_verbatim() -> None:
    bayeux = with_extensions(Spy())
    client = await opened(bayeux)
    batch = await bayeux.request(b'[{"channel":"/a","clientId":"%b","data":{"n":1.10}}]' % client.id.encode(), client.peer)
    assert b'"data":{"n":1.10}' in array(batch.parts())


async def test_a_refused_message_is_answered_404() -> None:
    spy = Spy()
    bayeux = with_extensions(spy)
    client = await opened(bayeux)
    spy.refuse = "in /a"
    assert await client.post(client.message("/a", data=1)) == [
        {"id": "9", "channel": "/a", "successful": False, "error": "404::message_deleted"}
    ]
    assert bayeux.server.extensions.refused == 1


async def test_a_refused_handshake_opens_nothing() -> None:
    spy = Spy()
    spy.refuse = "in /meta/handshake"
    bayeux = with_extensions(spy)
    (reply,) = await bayeux.post(by_token())
    assert (reply["successful"], reply["error"], reply["advice"]["reconnect"]) == (False, "404::message_deleted", "none")
    assert not bayeux.server.sessions


async def test_an_exception_refuses_and_is_told() -> None:
    spy = Spy()
    bayeux = with_extensions(spy)
    client = await opened(bayeux)
    spy.fail = "in /a"
    (reply,) = await client.post(client.message("/a", data=1))
    assert reply["error"] == "404::message_deleted"
    assert bayeux.server.extensions.faults == 1
    assert [source for source, _ in bayeux.fault_sources] == [spy]  # type: ignore[attr-defined]


@pytest.mark.parametrize("how", ["refuse", "fail"])
async def test_an_event_can_be_dropped_before_anybody_hears_it(how: str) -> None:
    spy = Spy()
    bayeux = with_extensions(spy)
    client = await opened(bayeux)
    setattr(spy, how, "out /a")
    replies = await client.post(client.message("/a", data=1))
    assert [reply["successful"] for reply in replies] == [True]
    await bayeux.hub.publisher.emit("t", "/a", b"2")
    assert len(await client.post(client.connect(timeout=0))) == 1
    assert bayeux.server.extensions.refused >= 2


async def test_a_reply_cannot_be_dropped() -> None:
    spy = Spy()
    bayeux = with_extensions(spy)
    client = await opened(bayeux)
    spy.refuse = "out /meta/connect"
    assert len(await client.post(client.connect(timeout=0))) == 1


class Stamp(Extension):
    """Changes what goes by."""

    def incoming(self, session: ServerSession | None, message: ExtensionMessage) -> bool:
        if message.channel == "/a":
            message.data = {**message.data, "by": session.principal.subject if session is not None else ""}
            message.ext = {"seen": True}
        return True

    def outgoing(self, session: ServerSession | None, message: ExtensionMessage) -> bool:
        if session is None:
            message["stamp"] = "é"
        elif message.channel == "/meta/connect":
            message.ext = {**message.ext, "hub": 1}
            del message["advice"]
        return True


async def test_messages_can_be_changed() -> None:
    client = await opened(with_extensions(Stamp()))
    event, reply = await client.post(client.message("/a", data={"n": 1}))
    assert event == {"channel": "/a", "data": {"n": 1, "by": "ann"}, "ext": {"seen": True}, "stamp": "é"}
    assert reply == {"id": "9", "channel": "/a", "successful": True}
    assert await client.post(client.connect(timeout=0)) == [{"id": "9", "channel": "/meta/connect", "successful": True, "ext": {"hub": 1}}]


async def test_a_held_connect_is_changed_too() -> None:
    bayeux = with_extensions(Stamp())
    client = await opened(bayeux)
    held = await client.hold()
    await bayeux.emit("/a", b"1")
    assert held.response()[-1]["ext"] == {"hub": 1}


class OwnOnly(SessionExtension):
    def incoming(self, session: ServerSession, message: ExtensionMessage) -> bool:
        return message.channel != "/forbidden"

    def outgoing(self, session: ServerSession, message: ExtensionMessage) -> bool:
        message["own"] = True
        return True


class PerSession(Extension):
    def session_opened(self, session: ServerSession) -> SessionExtension | None:
        if session.principal.subject == "bad luck":
            raise KeyError("x")
        return OwnOnly() if session.principal.subject == "ann" else None


async def test_an_extension_of_one_session() -> None:
    bayeux = with_extensions(PerSession())
    ann, bob = await bayeux.client(), await bayeux.client(message=by_token("bob"))
    (reply,) = await ann.post(ann.message("/forbidden", data=1))
    assert (reply["error"], reply["own"]) == ("404::message_deleted", True)
    (reply,) = await bob.post(bob.message("/forbidden", data=1))
    assert reply == {"id": "9", "channel": "/forbidden", "successful": True}
    ann.session.deliver("/service/x", 1)
    messages = await ann.post(ann.connect(timeout=0))
    assert messages[0] == {"channel": "/service/x", "data": 1, "own": True}


async def test_an_extension_that_cannot_be_made_for_a_session_is_left_out() -> None:
    bayeux = with_extensions(PerSession())
    client = await bayeux.client(message=by_token("bad luck"))
    assert client.session.extensions == ()
    assert bayeux.server.extensions.faults == 1


# -- services -----------------------------------------------------------------------------------------------------------


async def call(bayeux: Bayeux, client: Client, target: str, data: Any, **members: Any) -> list[Json]:
    """A remote call, and what comes back for it until nothing is left to do."""
    replies = await client.post(client.message(f"/service/{target}", data=data, id="c7", **members))
    await bayeux.loop.run()
    return replies + (await client.post(client.connect(timeout=0)))[:-1]


async def test_a_service_hears_what_is_published_on_its_channel() -> None:
    bayeux = Bayeux()
    heard: list[tuple[str, ServiceMessage]] = []

    async def listener(session: ServerSession, message: ServiceMessage) -> None:
        heard.append((session.id, message))
        session.deliver(message.channel, {"echo": message.data}, id=message.id)

    bayeux.server.services.listen("/service/*", listener)
    client, other = await bayeux.client(), await bayeux.client()
    replies = await client.post(client.message("/service/echo", data=[1], id="5"))
    assert replies == [
        {"channel": "/service/echo", "data": {"echo": [1]}, "id": "5"},
        {"id": "5", "channel": "/service/echo", "successful": True},
    ]
    assert heard == [(client.id, ServiceMessage("/service/echo", [1], "5"))]
    assert len(await other.post(other.connect(timeout=0))) == 1


async def test_what_is_published_on_other_service_channels_goes_nowhere() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.subscribed("/service/nobody")
    assert await client.post(client.message("/service/nobody", data=1)) == [{"id": "9", "channel": "/service/nobody", "successful": True}]


async def test_a_service_that_fails() -> None:
    bayeux = with_extensions()

    async def listener(session: ServerSession, message: ServiceMessage) -> None:
        raise KeyError("x")

    bayeux.server.services.listen("/service/broken", listener)
    client = await bayeux.client()
    (reply,) = await client.post(client.message("/service/broken", data=1))
    assert reply["error"] == "500::internal_error"
    assert [source for source, _ in bayeux.fault_sources] == [listener]  # type: ignore[attr-defined]


async def test_a_remote_call_has_a_result_with_the_same_id() -> None:
    bayeux = Bayeux()

    async def double(session: ServerSession, data: Any) -> Any:
        return data * 2

    bayeux.server.services.remote("double", double)
    client = await bayeux.client()
    assert await call(bayeux, client, "double", 21) == [
        {"id": "c7", "channel": "/service/double", "successful": True},
        {"channel": "/service/double", "data": 42, "id": "c7", "successful": True},
    ]


@pytest.mark.parametrize(
    ("fault", "data", "failed"),
    [(RemoteCallError({"code": 7}), {"code": 7}, 0), (KeyError("secret"), "the server failed", 1)],
)
async def test_a_remote_call_that_fails(fault: Exception, data: Any, failed: int) -> None:
    bayeux = with_extensions()

    async def fails(session: ServerSession, argument: Any) -> Any:
        raise fault

    bayeux.server.services.remote("fails", fails)
    client = await bayeux.client()
    (_, result) = await call(bayeux, client, "fails", None)
    assert result == {"channel": "/service/fails", "data": data, "id": "c7", "successful": False}
    assert bayeux.server.services.calls_failed == failed


@pytest.mark.parametrize("result", [{1, 2}, float("nan"), [float("inf")], RemoteCallError({1, 2}), RemoteCallError(float("nan"))])
async def test_a_result_that_is_no_json_fails_the_call(result: Any) -> None:
    bayeux = with_extensions()

    async def odd(session: ServerSession, argument: Any) -> Any:
        if isinstance(result, Exception):
            raise result
        return result

    bayeux.server.services.remote("odd", odd)
    (_, answer) = await call(bayeux, await bayeux.client(), "odd", None)
    assert (answer["successful"], answer["data"]) == (False, "the server failed")
    assert bayeux.server.services.calls_failed == 1


@pytest.mark.parametrize("channel", ["/service/double", "/service/heard"])
async def test_a_number_beyond_a_double_is_the_clients_fault(channel: str) -> None:
    bayeux = Bayeux()
    seen: list[Any] = []

    async def listener(session: ServerSession, message: ServiceMessage) -> None:
        seen.append(message)

    async def double(session: ServerSession, data: Any) -> Any:
        seen.append(data)

    bayeux.server.services.remote("double", double)
    bayeux.server.services.listen("/service/heard", listener)
    client = await bayeux.client()
    text = b'[{"channel":"%b","clientId":"%b","data":{"n":1e400}}]' % (channel.encode(), client.id.encode())
    batch = await bayeux.request(text, client.peer)
    assert json.loads(array(batch.parts())) == [{"channel": channel, "successful": False, "error": "400:data:message_invalid"}]
    await bayeux.loop.run()
    assert seen == []
    assert client.session.calls == 0


async def test_an_extension_that_takes_its_time_holds_no_events_back() -> None:
    spy = Spy()
    bayeux = with_extensions(spy)
    client = await opened(bayeux)
    held = await client.hold()

    async def slow(session: ServerSession | None, message: ExtensionMessage) -> bool:
        await bayeux.emit("/a", b"1")
        assert [reply.get("data") for reply in held.response()] == [1, None]
        return True

    spy.incoming = slow  # type: ignore[method-assign]
    (reply,) = await client.post(client.message("/b", data=2))
    assert reply["successful"]


async def test_a_slow_call_holds_up_nothing_and_its_client_may_go() -> None:
    bayeux = Bayeux()

    async def slow(session: ServerSession, data: Any) -> Any:
        return data

    bayeux.server.services.remote("slow", slow)
    client = await bayeux.client()
    session = client.session
    await client.post(client.message("/service/slow", data=1), client.message("/meta/disconnect"))
    await bayeux.loop.run()
    assert session.calls == 0
    assert not session.queue


async def test_calls_under_way_are_bounded() -> None:
    bayeux = Bayeux(limits=Limits(max_calls=3))

    async def slow(session: ServerSession, data: Any) -> Any:
        return data

    bayeux.server.services.remote("slow", slow)
    client = await bayeux.client()
    for _ in range(3):
        await client.post(client.message("/service/slow", data=1))
    (reply,) = await client.post(client.message("/service/slow", data=1))
    assert reply["error"] == "429::rate_limited"
    await bayeux.loop.run()
    assert client.session.calls == 0


async def test_what_cannot_be_served() -> None:
    services = Bayeux().server.services

    async def nothing(session: ServerSession, data: Any) -> Any:
        return None

    services.remote("one", nothing)
    for attempt in (
        lambda: services.remote("one", nothing),
        lambda: services.remote("not a name", nothing),
        lambda: services.listen("/free", nothing),
        lambda: services.listen("service", nothing),
    ):
        with pytest.raises(ValueError):
            attempt()


async def test_what_cannot_be_delivered() -> None:
    client = await Bayeux().client()
    with pytest.raises(ValueError):
        client.session.deliver("/service/x", float("nan"))
    with pytest.raises(ValueError):
        client.session.deliver("no channel", 1)
