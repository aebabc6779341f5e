"""A session that is ended in one way while fan-outs have more for it than its queue has room for, which ends it in another."""

from __future__ import annotations

from typing import Any

import pytest

from hub.bayeux.session import ServerSession
from hub.core.delivery import DeliveryClass
from hub.core.errors import CloseCode
from hub.core.fan_out import AT_ONCE
from hub.core.limits import Limits
from hub.core.message import Message, Topic
from tests.hub.bayeux.harness import Bayeux, Held, SocketClient
from tests.hub.core.harness import Recorder


async def crowded() -> Bayeux:
    """A server whose fan-outs are large: others hear ``/log/a``, too."""
    bayeux = Bayeux(limits=Limits(max_queue_bytes=1200))
    for number in range(AT_ONCE + 12):
        other = Recorder(bayeux.hub, f"other{number}")
        bayeux.hub.sessions.attach(other)
        await bayeux.hub.subscriptions.subscribe(other, ["/log/a"])
    return bayeux


def publish_too_much(bayeux: Bayeux) -> None:
    members = bayeux.hub.router.match(Topic("t", "", "/log/a"))
    assert members is not None
    for number in range(4):
        bayeux.hub.fan_outs.begin(Message("/log/a", b'"%d%b"' % (number, b"x" * 500), DeliveryClass.LOG, position=number + 1), members)


def end(bayeux: Bayeux, session: ServerSession, how: str) -> Any:
    if how == "revoke":
        return list(bayeux.server.revoke(lambda _: True))
    server = bayeux.server
    ways = {"by_client": server.endings.by_client, "answer": server.connects.answer, "send_away": server.connects.send_away}
    return ways[how](session) if how in ways else getattr(session, how)()


@pytest.mark.parametrize("how", ["revoke", "disconnect", "by_client", "flush", "answer", "send_away"])
@pytest.mark.parametrize("door", ["websocket", "held", "between"])
async def test_it_ends_once_and_whoever_waits_is_answered(door: str, how: str) -> None:
    bayeux = await crowded()
    client = bayeux.socket() if door == "websocket" else await bayeux.client()
    if isinstance(client, SocketClient):
        await client.open()
        await client.send(client.subscribe("/log/a"))
    else:
        await client.subscribed("/log/a")
    session: ServerSession = bayeux.server.sessions[client.id]
    healthy = await bayeux.client()
    beyond: ServerSession = healthy.session
    held: Held | None = await client.hold() if door == "held" else None
    publish_too_much(bayeux)
    end(bayeux, session, how)
    if (door, how) == ("between", "flush"):  # there is nothing to flush to, so nobody looked
        assert not session.ended
        session.disconnect()
    assert session.ended
    assert bayeux.hub.counters.too_slow == 1
    assert session.id not in bayeux.server.sessions
    if held is not None:
        (reply,) = held.response()
        assert (reply["error"], reply["advice"]["reconnect"]) == ("402::session_unknown", "handshake")
    if isinstance(client, SocketClient):
        assert client.wire.closed == CloseCode.TOO_SLOW
    assert beyond.ended is (how == "revoke"), "one that cannot be ended as it should keeps no other alive"
    await bayeux.loop.run()
    assert bayeux.faults == []
    assert session.held is None
