"""AVAILABLE and UNAVAILABLE: what stops, what is refused, what comes back."""

from __future__ import annotations

import pytest

from channels.statistics.service.interface import ServiceState, UnavailableError
from hub.eventlog.interface import EventLogError
from tests.channels.statistics.support import Centre, agent_item, call, items_of, login, principal

SERVICE = "/statistics/v3/service"
CALLS = "/statistics/v3/values/Agent/ana/InboundCalls"


def change(state: str) -> tuple[str, dict[str, object]]:
    return SERVICE, {"name": "ServiceStateChange", "topic": SERVICE, "data": {"serviceState": state}}


async def test_subscribing_tells_the_present_state() -> None:
    centre = Centre()
    first = await centre.subscribe(SERVICE, identifier="1")
    assert first.taken() == [change("AVAILABLE")]
    await centre.server.stop_service("t")
    second = await centre.subscribe("/statistics/v3/*", identifier="2")
    assert second.taken() == [change("UNAVAILABLE")]


async def test_stop_and_start_are_told_once_each() -> None:
    centre = Centre()
    listener = await centre.subscribe(SERVICE)
    listener.taken()
    for _ in range(2):
        await centre.server.stop_service("t")
    for _ in range(2):
        await centre.server.start_service("t")
    await centre.settle()
    assert listener.taken() == [change("UNAVAILABLE"), change("AVAILABLE")]


async def test_stop_drops_all_subscriptions() -> None:
    centre = Centre()
    await centre.server.open_subscription(login(), "sub", [agent_item()])
    await centre.server.stop_service("t")
    await centre.server.start_service("t")
    report = await centre.server.report("t")
    assert (report.state, report.subscriptions, report.statistics) == (ServiceState.AVAILABLE, 0, 0)
    assert centre.server.counters.subscriptions_closed == 1


async def test_while_stopped_everything_that_reads_is_refused() -> None:
    centre = Centre()
    await centre.server.stop_service("t")
    server = centre.server
    for asking in (
        server.open_subscription(login(), "sub", [agent_item()]),
        server.peek_subscription(login(), "sub", []),
        server.read(login(), [agent_item(name="InboundCalls")]),
        server.objects("t", "Agent"),
    ):
        with pytest.raises(UnavailableError, match="UNAVAILABLE"):
            await asking
    await server.close_subscription(login(), "sub")
    assert await server.present_updates("t", "login") is None
    assert [piece async for piece in server.present_values("t", CALLS)] == []
    centre.hub.logins.arrived(principal())
    centre.hub.logins.left(principal())
    await centre.tick()
    await server.run_housekeeping()
    assert (await server.report("t")).now_ms is None


async def test_one_tenant_stops_alone() -> None:
    centre = Centre()
    await centre.server.stop_service("t")
    done = await centre.server.open_subscription(login(tenant="u"), "sub", [agent_item()])
    assert len(done.readings) == 1
    assert centre.server.service_state("u") is ServiceState.AVAILABLE


async def test_events_that_come_while_stopped_count_after_the_start() -> None:
    centre = Centre()
    await centre.feed(*call(centre))
    await centre.server.stop_service("t")
    await centre.feed(*call(centre))
    assert (await centre.server.report("t")).position == 4
    await centre.server.start_service("t")
    await centre.feed(*call(centre))
    done = await centre.server.read(login(), [agent_item(name="InboundCalls")])
    assert done.readings[0].value["intValue"] == 3


async def test_watched_values_channels_come_back_with_their_values() -> None:
    centre = Centre()
    listener = await centre.subscribe(CALLS)
    await centre.server.stop_service("t")
    await centre.feed(*call(centre))
    listener.taken()
    await centre.server.start_service("t")
    await centre.settle()
    assert [(channel, data["value"]["intValue"]) for channel, data in listener.taken()] == [(CALLS, 1)]


async def test_a_values_channel_can_be_subscribed_while_stopped() -> None:
    centre = Centre()
    await centre.server.stop_service("t")
    listener = await centre.subscribe(CALLS)
    gone = await centre.subscribe("/statistics/v3/values/Agent/ana/OutboundCalls", identifier="2")
    centre.hub.sessions.detach(gone)
    assert listener.taken() == []
    await centre.server.start_service("t")
    await centre.settle()
    assert [channel for channel, _ in listener.taken()] == [CALLS]


async def test_a_start_that_cannot_read_the_log_leaves_the_service_stopped() -> None:
    centre = Centre()
    await centre.feed(*call(centre))
    await centre.server.stop_service("t")
    await centre.log.close()
    with pytest.raises(EventLogError):
        await centre.server.start_service("t")
    assert centre.server.service_state("t") is ServiceState.UNAVAILABLE


async def test_a_new_subscription_after_the_start_gets_updates() -> None:
    centre = Centre()
    await centre.server.stop_service("t")
    await centre.server.start_service("t")
    await centre.server.open_subscription(login(), "sub", [agent_item()])
    listener = await centre.subscribe("/statistics/v3/updates")
    listener.taken()
    await centre.feed(*call(centre))
    await centre.tick()
    assert len(items_of(listener.taken())) == 1
