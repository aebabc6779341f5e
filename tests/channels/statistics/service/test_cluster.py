"""Statistics and ingest on several nodes of one hub: any node answers, the tenant's owner does the work."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from channels.events import ACCEPTED, DUPLICATE, EventSinkError
from channels.ingest.relayed import UncertainError
from channels.statistics.engine.definition import DefinitionError
from channels.statistics.service.interface import (
    LimitError,
    ServiceState,
    UnansweredError,
    UnavailableError,
    UnknownSubscriptionError,
)
from hub.core.errors import RefusedError
from tests.channels.statistics.service.nodes import StatNodes, until
from tests.channels.statistics.support import Listener, agent_item, items_of, login, principal

VALUE = "/statistics/v3/values/Agent/ana/InboundCalls"
SERVICE = "/statistics/v3/service"
UPDATES = "/statistics/v3/updates"


def states(listener: Listener) -> list[str]:
    return [data["data"]["serviceState"] for channel, data in listener.taken() if channel == SERVICE]


def calls(data: Any) -> int:
    return int(data["value"]["intValue"])


async def test_every_node_answers_as_the_owner_does() -> None:
    async with StatNodes() as nodes:
        await nodes.give(0)
        owner, other = nodes
        assert await other.sink.accept("t", nodes.call()) == [ACCEPTED, ACCEPTED]
        await nodes.tick()
        items = [
            agent_item("one"),
            agent_item("wrong", name="NoSuchStatistic"),
            agent_item("state", category="CurrentState", subject="AgentStatus", mainMask="*"),
        ]
        ours = await owner.server.open_subscription(login(), "op", items)
        theirs = await other.server.open_subscription(login("other"), "op", items)
        assert theirs == ours
        assert [reading.statistic_id for reading in theirs.readings] == ["one", "state"]
        assert [refusal.statistic_id for refusal in theirs.refusals] == ["wrong"]
        assert theirs.readings[0].value["intValue"] == 1
        assert theirs.readings[1].encoded
        for server in (owner.server, other.server):
            assert await server.peek_subscription(login("other"), "op", ["one", "x"]) == await owner.local.peek_subscription(
                login("other"), "op", ["one", "x"]
            )
            assert await server.read(login(), items) == await owner.local.read(login(), items)
            assert await server.objects("t", "Agent") == ["ana"]
            assert await server.report("t") == await owner.local.report("t")
            assert await server.present_updates("t", "other") == await owner.local.present_updates("t", "other")
            assert await server.clear_interaction("t", "x") is False
        await other.server.close_subscription(login("other"), "op")
        await other.server.close_subscription(login("other"), "op")
        assert owner.local.open_count() == 2
        assert other.server.counters.requests > 5


async def test_the_errors_of_the_owner_are_raised_on_every_node() -> None:
    async with StatNodes(max_subscription_statistics=1, max_values=1) as nodes:
        await nodes.give(0)
        server = nodes[1].server
        with pytest.raises(UnknownSubscriptionError, match="op"):
            await server.peek_subscription(login(), "op", [])
        with pytest.raises(LimitError, match="statistics: expected at most 1") as limit:
            await server.open_subscription(login(), "op", [agent_item("1"), agent_item("2")])
        assert limit.value.field == "data.statistics"
        with pytest.raises(DefinitionError, match="objectType"):
            await server.objects("t", "Nothing")
        await nodes[1].subscribe(VALUE)
        await nodes[1].subscribe(SERVICE, identifier="s2")
        with pytest.raises(RefusedError, match="at most 1 values channels"):
            await server.watch("t", "/statistics/v3/values/Agent/ben/InboundCalls")
        with pytest.raises(RefusedError, match="expected /statistics/v3/values"):
            await server.watch("t", "/statistics/v3/values/Agent")
        await server.stop_service("t")
        with pytest.raises(UnavailableError):
            await server.read(login(), [agent_item(name="InboundCalls")])
        await server.start_service("t")
        assert (await server.report("t")).state is ServiceState.AVAILABLE


async def test_a_login_hears_of_its_subscription_on_the_node_where_its_session_is() -> None:
    async with StatNodes(3) as nodes:
        await nodes.give(0)
        there = await nodes[1].subscribe(UPDATES)
        await nodes[2].server.open_subscription(login(), "op", [agent_item()])
        await nodes[2].sink.accept("t", nodes.call())
        await nodes.tick()
        (item,) = items_of(there.taken())
        assert calls(item) == 1
        again = await nodes[2].subscribe(UPDATES)
        assert [calls(item) for item in items_of(again.taken())] == [1]


async def test_a_subscription_ends_with_the_last_session_of_its_login_on_any_node() -> None:
    async with StatNodes(3) as nodes:
        await nodes.give(0)
        who = principal()
        for node in nodes.nodes[1:]:
            node.hub.logins.arrived(who)
        await nodes[1].server.open_subscription(login(), "op", [agent_item()])
        await until(lambda: sum("login" in guest.logins for guest in nodes[0].guests._tenants["t"].values()) == 2)
        nodes[1].hub.logins.left(who)
        await nodes[0].settle()
        assert nodes[0].local.open_count() == 1
        nodes[2].hub.logins.left(who)
        await until(lambda: nodes[0].local.open_count() == 0)


async def test_a_login_of_a_node_that_died_keeps_its_subscriptions_until_it_is_back() -> None:
    async with StatNodes(3, node_grace_s=0.3) as nodes:
        await nodes.give(0)
        for key in ("back", "gone"):
            nodes[1].hub.logins.arrived(principal(key))
            await nodes[0].server.open_subscription(login(key), "op", [agent_item()])
        await until(lambda: nodes[0].guests.has("t", "back") and nodes[0].guests.has("t", "gone"))
        await nodes.kill(1)
        nodes[2].hub.logins.arrived(principal("back"))
        await until(lambda: not nodes[0].guests.has("t", "gone"))
        assert nodes[0].guests.has("t", "back")
        assert nodes[0].local.open_count() == 1
        await nodes[0].server.peek_subscription(login("back"), "op", [])


async def test_a_node_that_stops_takes_no_subscription_along() -> None:
    async with StatNodes(2, node_grace_s=0.2) as nodes:
        await nodes.give(0)
        nodes[1].hub.logins.arrived(principal())
        await nodes[0].server.open_subscription(login(), "op", [agent_item()])
        await until(lambda: nodes[0].guests.has("t", "login"))
        nodes.cluster.change(nodes[1].node, draining=True)
        nodes[1].hub.logins.left(principal())
        await nodes[1].server.stop()
        assert nodes[0].local.open_count() == 1
        await until(lambda: nodes[0].local.open_count() == 0)


async def test_a_link_that_breaks_is_made_again_and_tells_everything() -> None:
    async with StatNodes(2, node_grace_s=5) as nodes:
        await nodes.give(0)
        nodes[1].hub.logins.arrived(principal("stays"))
        nodes[1].hub.logins.arrived(principal("leaves"))
        await nodes[0].server.open_subscription(login("leaves"), "op", [agent_item()])
        watching = await nodes[1].subscribe(VALUE, SERVICE)
        await until(lambda: nodes[0].guests.has("t", "leaves"))
        assert states(watching) == ["AVAILABLE"]
        nodes.cluster.drop(nodes[0].node, nodes[1].node)
        nodes[1].hub.logins.left(principal("leaves"))
        await until(lambda: nodes[0].local.open_count() == 0)
        assert nodes[0].guests.has("t", "stays")
        assert not nodes[0].guests.has("t", "leaves")
        await until(lambda: nodes[1].server.service_state("t") is ServiceState.AVAILABLE)
        await nodes[1].settle()
        assert states(watching) == ["UNAVAILABLE", "AVAILABLE"]
        assert nodes[1].server.counters.watches_broken == 1


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("towards_owner", [True, False])
async def test_a_link_that_is_cut_in_one_direction_ends_requests_and_comes_back_with_everything(both: bool, towards_owner: bool) -> None:
    """The owner lives, and goes on: nothing is taken over, and what the node had is there again when the link is."""
    async with StatNodes(2, node_grace_s=30, find_s=0.05, answer_s=2) as nodes:
        await nodes.give(0)
        owner, other = nodes
        other.hub.logins.arrived(principal())
        await other.server.open_subscription(login(), "op", [agent_item()])
        watching = await other.subscribe(VALUE, SERVICE)
        await other.sink.accept("t", nodes.call())
        await nodes.tick(11)
        here, there = (other.node, owner.node) if towards_owner else (owner.node, other.node)
        nodes.cluster.cut(here, there, both=both)
        await until(lambda: other.server.service_state("t") is ServiceState.UNAVAILABLE)
        with pytest.raises((UnavailableError, UnansweredError)):
            await other.server.read(login(), [agent_item(name="InboundCalls")])
        with pytest.raises(EventSinkError):
            await other.sink.accept("t", nodes.call())
        await owner.sink.accept("t", nodes.call())
        nodes.cluster.mend(here, there)
        await until(lambda: other.server.service_state("t") is ServiceState.AVAILABLE)
        await nodes.tick(11)
        readings = await other.server.peek_subscription(login(), "op", ["s"])
        assert calls({"value": readings.readings[0].value}) == 2
        await until(lambda: [calls(data) for channel, data in watching.received if channel == VALUE][-1] == 2)
        heard = [calls(data) for channel, data in watching.received if channel == VALUE]
        assert heard == sorted(heard)
        assert nodes.owners.owners["t"].fence == 1


async def test_values_channels_are_open_as_long_as_a_node_has_a_subscriber() -> None:
    async with StatNodes(3) as nodes:
        await nodes.give(0)
        one = await nodes[1].subscribe(VALUE)
        two = await nodes[2].subscribe(VALUE)
        here = await nodes[0].subscribe(VALUE)
        assert nodes[0].local._entries["t"].watched.keys() == {VALUE}
        for listener in (one, two, here):
            assert [calls(data) for _, data in listener.taken()] == [0]
        await nodes[1].sink.accept("t", nodes.call())
        await nodes.tick(11)
        for listener in (one, two, here):
            assert [calls(data) for _, data in listener.taken()] == [1]
        nodes[1].hub.subscriptions.unsubscribe(one, [VALUE])
        nodes[0].hub.subscriptions.unsubscribe(here, [VALUE])
        await asyncio.sleep(0.02)
        assert nodes[0].local._entries["t"].watched.keys() == {VALUE}
        nodes[2].hub.subscriptions.unsubscribe(two, [VALUE])
        await until(lambda: not nodes[0].local._entries["t"].watched)


async def test_a_tenant_is_idle_while_nobody_watches_it_on_any_node() -> None:
    async with StatNodes(2) as nodes:
        await nodes.give(0)
        owner = nodes[0].local
        assert owner.is_idle("t")
        listener = await nodes[1].subscribe(VALUE)
        assert not owner.is_idle("t")
        nodes[1].hub.subscriptions.unsubscribe(listener, [VALUE])
        await until(lambda: owner.is_idle("t"))
        await nodes[1].server.open_subscription(login(), "op", [agent_item()])
        assert not owner.is_idle("t")
        await nodes[1].server.close_subscription(login(), "op")
        assert owner.is_idle("t")
        assert nodes[1].local.is_idle("t"), "it does not own it"


async def test_what_a_node_that_died_watched_is_closed() -> None:
    async with StatNodes(2) as nodes:
        await nodes.give(0)
        await nodes[1].subscribe(VALUE)
        assert nodes[0].local._entries["t"].watched
        await nodes.kill(1)
        await until(lambda: not nodes[0].local._entries["t"].watched)


async def test_all_values_of_another_node_by_a_pattern() -> None:
    async with StatNodes(2) as nodes:
        await nodes.give(0)
        channels = [f"/statistics/v3/values/Agent/a{number}/InboundCalls" for number in range(300)]
        first = await nodes[1].subscribe(*channels)
        everything = await nodes[1].subscribe("/statistics/v3/values/**", identifier="s2")
        assert sorted(channel for channel, _ in everything.taken()) == sorted(channels)
        assert {channel for channel, _ in first.taken()} == set(channels)


async def test_another_owner_is_told_as_unavailable_and_available_once_each() -> None:
    async with StatNodes(3) as nodes:
        await nodes.give(0)
        listeners = [await node.subscribe(SERVICE, VALUE) for node in nodes.nodes]
        await nodes[2].sink.accept("t", nodes.call())
        await nodes[1].server.open_subscription(login(), "op", [agent_item()])
        await nodes.owners.release("t")
        await until(lambda: all(node.server.service_state("t") is ServiceState.UNAVAILABLE for node in nodes.nodes))
        await nodes.give(1)
        await until(lambda: all(node.server.service_state("t") is ServiceState.AVAILABLE for node in nodes.nodes))
        await until(lambda: len(nodes[1].local._entries["t"].watched) == 1)

        def present(listener: Listener) -> bool:
            """Whether the client has heard the value behind the last of the three states."""
            at = [place for place, (channel, _) in enumerate(listener.received) if channel == SERVICE]
            return len(at) == 3 and any(channel == VALUE and calls(data) == 1 for channel, data in listener.received[at[-1] :])

        for listener in listeners:
            await until(lambda listener=listener: present(listener))  # type: ignore[misc]
            taken = listener.taken()
            assert [data["data"]["serviceState"] for channel, data in taken if channel == SERVICE] == [
                "AVAILABLE",
                "UNAVAILABLE",
                "AVAILABLE",
            ]
            assert calls([data for channel, data in taken if channel == VALUE][-1]) == 1
        with pytest.raises(UnknownSubscriptionError):
            await nodes[0].server.peek_subscription(login(), "op", [])
        assert (await nodes[0].server.report("t")).position == 2


async def test_an_owner_that_lost_its_tenant_says_nothing_any_more() -> None:
    async with StatNodes(2) as nodes:
        await nodes.give(0)
        there = await nodes[1].subscribe(VALUE)
        there.taken()
        await nodes[0].sink.accept("t", nodes.call())
        nodes[0].ownership.fences.clear()  # its clock says so; it has not noticed yet
        await nodes.tick(11)
        assert there.taken() == []
        assert nodes[0].local.counters.deposed == 1


async def test_without_an_owner_requests_are_refused_and_ingest_too() -> None:
    async with StatNodes(2, find_s=0.05, answer_s=0.2) as nodes:
        with pytest.raises(UnavailableError):
            await nodes[1].server.read(login(), [agent_item(name="InboundCalls")])
        await nodes[1].server.close_subscription(login(), "op")
        assert await nodes[1].server.present_updates("t", "login") is None
        with pytest.raises(EventSinkError, match="no node takes"):
            await nodes[1].sink.accept("t", nodes.call())
        assert nodes[1].sink.counters.no_owner == 1
        listener = await nodes[1].subscribe(SERVICE)
        assert states(listener) == ["UNAVAILABLE"]
        await nodes.give(0)
        await until(lambda: nodes[1].server.service_state("t") is ServiceState.AVAILABLE)
        await nodes[1].settle()
        assert states(listener) == ["AVAILABLE"]


async def test_an_owner_that_does_not_answer() -> None:
    async with StatNodes(2, answer_s=1) as nodes:
        await nodes.give(0)
        await nodes[1].server.read(login(), [agent_item(name="InboundCalls")])
        async with nodes[0].local._entries["t"].lock:
            with pytest.raises(UnansweredError, match=r"within 1(\.0)? s"):
                await nodes[1].server.read(login(), [agent_item(name="InboundCalls")])
        assert nodes[1].server.counters.unanswered == 1
        nodes.cluster.delay(nodes[1].node, nodes[0].node, 5)
        counters = nodes[1].node.links.counters
        before = counters.calls_out
        asked = asyncio.create_task(nodes[1].server.clear_interaction("t", "x"))  # may not be repeated
        await until(lambda: counters.calls_out > before)
        nodes.cluster.drop(nodes[1].node, nodes[0].node)
        with pytest.raises(UnavailableError, match=r"broke off; what was asked may have been done$"):
            await asked
        # whoever sent the events hears nothing of addresses and names of nodes
        with pytest.raises(UncertainError, match=r"did not answer$"):
            await nodes[1].sink.accept("t", nodes.call())
        nodes.cluster.delays.clear()


async def test_a_request_to_the_owner_before_goes_to_the_owner_now() -> None:
    async with StatNodes(3) as nodes:
        await nodes.give(1)
        stale = nodes.owners.owners["t"]
        nodes.owners.take_away("t")
        await nodes.give(2)
        now = nodes.owners.owners["t"]

        def owner(tenant: str) -> Any:
            return now if nodes[0].ownership.refreshed else stale

        nodes[0].ownership.owner = owner  # type: ignore[method-assign]
        nodes[1].ownership.find = nodes[0].ownership.find  # type: ignore[method-assign]
        await nodes[0].server.open_subscription(login(), None, [agent_item()])
        assert nodes[2].local.open_count() == 1
        assert nodes[0].server.counters.not_owner == 1
        nodes[0].ownership.refreshed = 0
        assert await nodes[0].sink.accept("t", nodes.call()) == [ACCEPTED, ACCEPTED]


async def test_an_event_counts_once_whichever_node_takes_it_and_whoever_owns_the_tenant() -> None:
    async with StatNodes(3) as nodes:
        await nodes.give(0)
        events = nodes.call()
        assert await nodes[1].sink.accept("t", events) == [ACCEPTED, ACCEPTED]
        assert await nodes[2].sink.accept("t", events) == [DUPLICATE, DUPLICATE]
        nodes.owners.take_away("t")
        await nodes.give(1)
        assert await nodes[0].sink.accept("t", events) == [DUPLICATE, DUPLICATE]
        late = replace_time(events[0], -3_600_000)
        (outcome,) = await nodes[2].sink.accept("t", [late])
        assert outcome.startswith("time: expected")
        readings = await nodes[2].server.read(login(), [agent_item(name="InboundCalls")])
        assert readings.readings[0].value["intValue"] == 1


def replace_time(event: Any, by_ms: int) -> Any:
    import msgspec

    return msgspec.structs.replace(event, time_ms=event.time_ms + by_ms, id="late")


async def test_calls_that_are_under_way_are_finished_before_the_tenant_is_handed_over() -> None:
    async with StatNodes(2) as nodes:
        await nodes.give(0)
        taking = [asyncio.ensure_future(nodes[1].sink.accept("t", nodes.call())) for _ in range(20)]
        await asyncio.sleep(0)
        await nodes.owners.release("t")
        await nodes.give(1)
        outcomes = await asyncio.gather(*taking)
        assert outcomes == [[ACCEPTED, ACCEPTED]] * 20
        readings = await nodes[0].server.read(login(), [agent_item(name="InboundCalls")])
        assert readings.readings[0].value["intValue"] == 20
        assert replace(readings.readings[0]) == readings.readings[0]
