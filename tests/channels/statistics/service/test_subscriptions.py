"""Subscriptions: whose they are, what replaces them, what ends them, and how many there may be."""

from __future__ import annotations

import asyncio

import pytest

from channels.statistics.service.interface import LimitError, UnknownSubscriptionError
from channels.statistics.service.requests import Refusal
from tests.channels.statistics.support import Centre, RestlessClock, agent_item, call, items_of, login, principal


async def test_opening_returns_the_present_values() -> None:
    centre = Centre()
    await centre.feed(*call(centre), *call(centre))
    done = await centre.server.open_subscription(login(), "sub", [agent_item("s", name="InboundCalls")])
    (reading,) = done.readings
    assert done.subscription_id == "sub"
    assert (reading.statistic_id, reading.name, reading.object_type, reading.object_id) == ("s", "InboundCalls", "Agent", "ana")
    assert reading.value["intValue"] == 2
    assert reading.timestamp == centre.clock.wall


async def test_missing_ids_are_made_up() -> None:
    centre = Centre()
    item = agent_item(name="InboundCalls")
    del item["statisticId"]
    done = await centre.server.open_subscription(login(), None, [item, item])
    assert len({done.subscription_id, *(r.statistic_id for r in done.readings)}) == 3


async def test_a_repeated_statistic_id_fails_alone() -> None:
    centre = Centre()
    done = await centre.server.open_subscription(login(), "sub", [agent_item("s"), agent_item("s", agent="bob"), agent_item("r")])
    assert [r.statistic_id for r in done.readings] == ["s", "r"]
    assert [(r.statistic_id, r.field) for r in done.refusals] == [("s", "statisticId")]


async def test_a_subscription_of_the_same_id_is_replaced() -> None:
    centre = Centre()
    await centre.server.open_subscription(login(), "sub", [agent_item("old")])
    await centre.server.open_subscription(login(), "sub", [agent_item("new")])
    peeked = await centre.server.peek_subscription(login(), "sub", [])
    assert [r.statistic_id for r in peeked.readings] == ["new"]
    assert (await centre.server.report("t")).statistics == 1


async def test_a_subscription_is_not_replaced_by_one_that_fails() -> None:
    centre = Centre()
    await centre.server.open_subscription(login(), "sub", [agent_item("old")])
    done = await centre.server.open_subscription(login(), "sub", [agent_item("new", name="Nonsense")])
    assert done.readings == []
    peeked = await centre.server.peek_subscription(login(), "sub", [])
    assert [r.statistic_id for r in peeked.readings] == ["old"]


async def test_logins_do_not_see_or_replace_each_others() -> None:
    centre = Centre()
    await centre.server.open_subscription(login("one"), "sub", [agent_item("a")])
    await centre.server.open_subscription(login("two"), "sub", [agent_item("b")])
    assert [r.statistic_id for r in (await centre.server.peek_subscription(login("one"), "sub", [])).readings] == ["a"]
    with pytest.raises(UnknownSubscriptionError):
        await centre.server.peek_subscription(login("three"), "sub", [])
    with pytest.raises(UnknownSubscriptionError):
        await centre.server.peek_subscription(login("one", tenant="other"), "sub", [])


async def test_updates_reach_every_session_of_the_login_and_no_other() -> None:
    centre = Centre()
    await centre.server.open_subscription(login("mine"), "sub", [agent_item()])
    first = await centre.subscribe("/statistics/v3/updates", who=principal("mine"), identifier="1")
    second = await centre.subscribe("/**", who=principal("mine"), identifier="2")
    other = await centre.subscribe("/**", who=principal("theirs"), identifier="3")
    for listener in (first, second, other):
        listener.taken()
    await centre.feed(*call(centre))
    await centre.tick()
    assert len(items_of(first.taken())) == len(items_of(second.taken())) == 1
    assert items_of(other.taken()) == []


async def test_a_session_with_the_cookie_hears_what_was_asked_for_by_token_alone() -> None:
    centre = Centre()
    await centre.server.open_subscription(login("token"), "sub", [agent_item()])
    listener = await centre.subscribe("/statistics/v3/updates", who=principal("cookie", "token"))
    assert [i["statisticId"] for i in items_of(listener.taken())] == ["s"]
    assert (await centre.server.peek_subscription(login("cookie", "token"), "sub", [])).readings
    await centre.server.close_subscription(login("cookie", "token"), "sub")
    assert (await centre.server.report("t")).subscriptions == 0


async def test_an_item_names_what_it_is_unless_verbose_is_off() -> None:
    centre = Centre()
    await centre.server.open_subscription(login(), "info", [agent_item("s", name="InboundCalls")])
    await centre.server.open_subscription(login(), "off", [agent_item("s", name="InboundCalls")], verbose=False)
    listener = await centre.subscribe("/statistics/v3/updates")
    ((channel, data),) = listener.taken()
    info, off = data["data"]["statistics"]
    assert (data["name"], data["topic"], channel) == ("StatisticUpdate", "/statistics/v3/updates", "/statistics/v3/updates")
    assert list(info) == ["subscriptionId", "statisticId", "name", "objectId", "objectType", "value", "timestamp"]
    assert (info["name"], info["objectId"], info["objectType"]) == ("InboundCalls", "ana", "Agent")
    assert list(off) == ["subscriptionId", "statisticId", "value", "timestamp"]
    assert info["timestamp"] == centre.clock.wall


async def test_items_are_ascii_whatever_the_ids_are() -> None:
    centre = Centre()
    await centre.server.open_subscription(login(), "süb", [agent_item("ß\U0001f642", agent="añá")])
    listener = await centre.subscribe("/statistics/v3/updates")
    (item,) = items_of(listener.taken())
    assert (item["subscriptionId"], item["statisticId"], item["objectId"]) == ("süb", "ß\U0001f642", "añá")


async def test_subscribing_without_open_statistics_sends_nothing() -> None:
    centre = Centre()
    listener = await centre.subscribe("/statistics/v3/updates")
    assert listener.taken() == []


async def test_subscribing_sends_the_present_values() -> None:
    centre = Centre()
    await centre.server.open_subscription(login(), "sub", [agent_item()])
    await centre.feed(*call(centre))
    listener = await centre.subscribe("/statistics/v3/updates")
    assert [i["value"]["intValue"] for i in items_of(listener.taken())] == [1]


async def test_identical_statistics_are_told_alike_in_each_subscription() -> None:
    centre = Centre()
    await centre.server.open_subscription(login(), "one", [agent_item(insensitivity=1)])
    await centre.server.open_subscription(login(), "two", [agent_item(insensitivity=2)])
    listener = await centre.subscribe("/statistics/v3/updates")
    listener.taken()
    await centre.feed(*call(centre))
    await centre.tick(1)
    await centre.feed(*call(centre))
    await centre.tick(1)
    told = [(i["subscriptionId"], i["value"]["intValue"]) for i in items_of(listener.taken())]
    assert told == [("one", 1), ("two", 2), ("one", 2)] or told == [("one", 1), ("one", 2), ("two", 2)]


async def test_delete_ends_the_updates() -> None:
    centre = Centre()
    await centre.server.open_subscription(login(), "sub", [agent_item()])
    listener = await centre.subscribe("/statistics/v3/updates")
    listener.taken()
    await centre.server.close_subscription(login(), "sub")
    await centre.feed(*call(centre))
    await centre.tick(1)
    assert listener.taken() == []


async def test_delete_of_what_is_not_there_is_no_error() -> None:
    centre = Centre()
    await centre.server.close_subscription(login(), "nothing")
    await centre.server.close_subscription(login(tenant="nobody"), "nothing")
    assert centre.server.counters.subscriptions_closed == 0


async def test_peek_by_ids() -> None:
    centre = Centre()
    await centre.server.open_subscription(login(), "sub", [agent_item("a"), agent_item("b"), agent_item("c"), agent_item("x,y")])
    done = await centre.server.peek_subscription(login(), "sub", ["c", "a, b,,a", "x,y", "zz"])
    assert [r.statistic_id for r in done.readings] == ["c", "a", "b", "x,y"]
    assert [(r.statistic_id, r.field, r.code) for r in done.refusals] == [("zz", "statisticIds", 404)]


async def test_peek_tells_the_present_value_and_does_not_count_as_told() -> None:
    centre = Centre()
    await centre.server.open_subscription(login(), "sub", [agent_item()])
    listener = await centre.subscribe("/statistics/v3/updates")
    listener.taken()
    await centre.feed(*call(centre))
    peeked = await centre.server.peek_subscription(login(), "sub", [])
    assert peeked.readings[0].value["intValue"] == 1
    await centre.tick()
    assert [i["value"]["intValue"] for i in items_of(listener.taken())] == [1]


async def test_values_without_a_subscription() -> None:
    centre = Centre()
    await centre.feed(*call(centre))
    good = {"name": "InboundCalls", "objectId": "ana", "objectType": "Agent"}
    done = await centre.server.read(login(), [good, good | {"name": "Nope"}, good | {"objectType": "Tenant"}, "text"])
    assert [(r.name, r.value["intValue"]) for r in done.readings] == [("InboundCalls", 1)]
    assert [(r.field, r.name) for r in done.refusals] == [("name", "Nope"), ("objectType", "InboundCalls"), ("statistics", None)]
    assert (await centre.server.report("t")).statistics == 0


async def test_an_object_nobody_has_heard_of_is_accepted() -> None:
    centre = Centre()
    items = [agent_item("n", agent="ghost", name="InboundCalls"), agent_item("s", agent="ghost", name="CurrentAgentState")]
    done = await centre.server.open_subscription(login(), "sub", items)
    assert done.readings[0].value["intValue"] == 0
    assert done.readings[1].value["stringValue"] == "LoggedOut"


# -- what ends them -------------------------------------------------------------------------------------------------


async def test_the_last_session_of_a_login_takes_its_subscriptions_with_it() -> None:
    centre = Centre()
    await centre.server.open_subscription(login(), "sub", [agent_item()])
    await centre.server.open_subscription(login("other"), "sub", [agent_item()])
    centre.hub.logins.arrived(principal())
    centre.hub.logins.arrived(principal())
    centre.hub.logins.left(principal())
    assert (await centre.server.report("t")).subscriptions == 2
    centre.hub.logins.left(principal())
    assert (await centre.server.report("t")).subscriptions == 1
    centre.hub.logins.arrived(principal(tenant="unknown"))
    centre.hub.logins.left(principal(tenant="unknown"))


async def test_a_login_without_sessions_loses_them_ten_minutes_after_its_last_call() -> None:
    centre = Centre()
    await centre.server.open_subscription(login(), "sub", [agent_item()])
    centre.clock.advance(599)
    await centre.server.peek_subscription(login(), "sub", [])
    centre.clock.advance(599)
    await centre.server.run_housekeeping()
    assert (await centre.server.report("t")).subscriptions == 1
    centre.clock.advance(1)
    await centre.server.run_housekeeping()
    assert (await centre.server.report("t")).subscriptions == 0


@pytest.mark.parametrize("operation", ["open", "peek", "read", "delete"])
async def test_every_rest_call_of_a_login_counts(operation: str) -> None:
    centre = Centre()
    await centre.server.open_subscription(login(), "sub", [agent_item()])
    centre.clock.advance(500)
    if operation == "open":
        await centre.server.open_subscription(login(), "fails", [{}])
    elif operation == "peek":
        await centre.server.peek_subscription(login(), "sub", [])
    elif operation == "read":
        await centre.server.read(login(), [{}])
    else:
        await centre.server.close_subscription(login(), "other")
    centre.clock.advance(500)
    await centre.server.run_housekeeping()
    assert (await centre.server.report("t")).subscriptions == 1


async def test_a_login_with_a_session_may_be_silent() -> None:
    centre = Centre()
    await centre.server.open_subscription(login(), "sub", [agent_item()])
    centre.hub.logins.arrived(principal())
    centre.clock.advance(10_000)
    await centre.server.run_housekeeping()
    assert (await centre.server.report("t")).subscriptions == 1


# -- limits ---------------------------------------------------------------------------------------------------------


async def test_too_many_statistics_in_one_request() -> None:
    centre = Centre(max_subscription_statistics=2)
    with pytest.raises(LimitError, match=r"data\.statistics: expected at most 2 statistics, got 3") as caught:
        await centre.server.open_subscription(login(), "sub", [agent_item(str(n)) for n in range(3)])
    assert caught.value.field == "data.statistics"
    with pytest.raises(LimitError):
        await centre.server.read(login(), [{}] * 3)


async def test_too_many_statistics_of_one_login_where_the_replaced_ones_do_not_count() -> None:
    centre = Centre(max_login_statistics=3)
    await centre.server.open_subscription(login(), "sub", [agent_item(str(n)) for n in range(2)])
    with pytest.raises(LimitError, match="at most 3 statistics of one login, got 2 more than the 2 open"):
        await centre.server.open_subscription(login(), "more", [agent_item(str(n)) for n in range(2)])
    done = await centre.server.open_subscription(login(), "sub", [agent_item(str(n)) for n in range(3)])
    assert len(done.readings) == 3


async def test_too_many_subscriptions_of_one_login() -> None:
    centre = Centre(max_login_subscriptions=1)
    await centre.server.open_subscription(login(), "one", [agent_item()])
    with pytest.raises(LimitError, match="at most 1 subscriptions of one login"):
        await centre.server.open_subscription(login(), "two", [agent_item()])
    await centre.server.open_subscription(login(), "one", [agent_item()])
    await centre.server.open_subscription(login("other"), "two", [agent_item()])
    assert (await centre.server.report("t")).subscriptions == 2


async def test_a_request_that_is_given_up_leaves_nothing_open() -> None:
    centre = Centre(clock=RestlessClock())
    asking = asyncio.ensure_future(centre.server.open_subscription(login(), "sub", [agent_item(str(n)) for n in range(20)]))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    report = await centre.server.report("t")
    assert (report.subscriptions, report.statistics) == (0, 0)
    tenant = centre.server._entries["t"].tenant
    assert tenant is not None
    assert tenant.notifier._immediate == {}


# -- items ----------------------------------------------------------------------------------------------------------

GOOD = {"statisticId": "s", "objectId": "ana", "objectType": "Agent", "name": "InboundCalls"}
DEFINITION = {"category": "TotalNumber", "subject": "DNAction", "mainMask": "CallInbound"}


@pytest.mark.parametrize(
    ("item", "field", "says"),
    [
        ("text", "statistics", 'expected objects, got "text"'),
        (None, "statistics", "expected objects, got null"),
        (GOOD | {"statisticId": 7}, "statisticId", "got 7"),
        (GOOD | {"statisticId": ""}, "statisticId", 'got ""'),
        (GOOD | {"statisticId": "x" * 256}, "statisticId", "1 to 255"),
        (GOOD | {"statisticId": "a\nb"}, "statisticId", "control"),
        (GOOD | {"objectId": None}, "objectId", "got nothing"),
        (GOOD | {"objectId": ["ana"]}, "objectId", 'got ["ana"]'),
        (GOOD | {"objectId": "a\ud800"}, "objectId", "expected text"),
        (GOOD | {"objectType": None}, "objectType", "Agent, GroupAgents, Queue"),
        (GOOD | {"objectType": "Robot"}, "objectType", "Robot"),
        (GOOD | {"objectType": {}}, "objectType", "{}"),
        (GOOD | {"name": None}, "name", "expected either name or definition, got nothing"),
        (GOOD | {"name": "Nope"}, "name", "InboundCalls"),
        (GOOD | {"name": 5}, "name", "5"),
        (GOOD | {"name": "TotalAnswered"}, "name", "for a Agent"),
        (GOOD | {"definition": DEFINITION}, "definition", "expected either name or definition, got both"),
        (GOOD | {"name": None, "definition": "x"}, "definition", "expected an object"),
        (GOOD | {"name": None, "definition": DEFINITION | {"category": "Nope"}}, "category", "Nope"),
        (GOOD | {"name": None, "definition": DEFINITION | {"mainMask": "CallInboud"}}, "mainMask", "CallInboud"),
    ],
)
async def test_each_field_of_an_item(item: object, field: str, says: str) -> None:
    centre = Centre()
    done = await centre.server.open_subscription(login(), "sub", [item, agent_item("good")])
    (refusal,) = done.refusals
    assert isinstance(refusal, Refusal)
    assert refusal.field == field
    assert refusal.message.startswith(f"{field}: expected")
    assert says in refusal.message
    assert [r.statistic_id for r in done.readings] == ["good"]
