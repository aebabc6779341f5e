"""``/statistics/v3/values/{objectType}/{objectId}/{name}``: opened by the first subscriber, closed after the last."""

from __future__ import annotations

import pytest

from channels.statistics.service.value_channels import parse_values_channel
from hub.core.channels import to_segment
from hub.core.errors import RefusedError, WireError
from tests.channels.statistics.support import Centre, RestlessClock, agent_item, call, login

CALLS = "/statistics/v3/values/Agent/ana/InboundCalls"
STATE = "/statistics/v3/values/Agent/ana/CurrentAgentState"


async def test_subscribing_sends_the_present_value() -> None:
    centre = Centre()
    await centre.feed(*call(centre))
    listener = await centre.subscribe(CALLS)
    ((channel, data),) = listener.taken()
    assert channel == CALLS
    assert list(data) == ["name", "objectId", "objectType", "value", "timestamp"]
    assert (data["name"], data["objectId"], data["objectType"]) == ("InboundCalls", "ana", "Agent")
    assert data["value"]["intValue"] == 1
    assert data["timestamp"] == centre.clock.wall


async def test_a_percentage_of_nothing_is_told_as_empty_until_there_is_something() -> None:
    centre = Centre()
    await centre.feed(centre.event("cx.interaction.queued", interactionId="i", queue="q"))
    listener = await centre.subscribe("/statistics/v3/values/Queue/q/ServiceLevel")
    ((_, data),) = listener.taken()
    assert (data["value"]["intValue"], data["empty"], list(data)[-2:]) == (0, True, ["empty", "timestamp"])
    await centre.feed(centre.event("cx.interaction.abandoned", interactionId="i", queue="q"))
    centre.clock.advance(10)
    await centre.tick()
    ((_, data),) = listener.taken()
    assert (data["value"]["intValue"], "empty" in data) == (0, False), "nothing of one call is another 0 than that of none"


async def test_a_single_value_of_nothing_is_read_as_empty() -> None:
    centre = Centre()
    for calls in (0, 1):
        if calls:
            await centre.feed(*call(centre))
        (reading,) = (await centre.server.read(login(), [agent_item(name="AverageHandlingTime")])).readings
        assert reading.empty is (calls == 0)


async def test_a_change_is_told_to_all_that_subscribed() -> None:
    centre = Centre()
    first = await centre.subscribe(STATE, identifier="1")
    second = await centre.subscribe(STATE, identifier="2")
    assert [data["value"]["stringValue"] for _, data in first.taken() + second.taken()] == ["LoggedOut", "LoggedOut"]
    await centre.feed(centre.event("cx.agent.login", agentId="ana"))
    await centre.tick()
    assert [data["value"]["stringValue"] for _, data in first.taken()] == ["NotReadyForNextCall"]
    assert [data["value"]["stringValue"] for _, data in second.taken()] == ["NotReadyForNextCall"]


async def test_the_statistic_closes_with_its_last_subscriber() -> None:
    centre = Centre()
    first = await centre.subscribe(STATE, identifier="1")
    second = await centre.subscribe(STATE, identifier="2")
    centre.hub.subscriptions.unsubscribe(first, [STATE])
    assert (await centre.server.report("t")).values == 1
    centre.hub.sessions.detach(second)
    tenant = centre.server._entries["t"].tenant
    assert tenant is not None
    assert ((await centre.server.report("t")).values, tenant.values, tenant.notifier._immediate) == (0, {}, {})


async def test_ids_are_percent_encoded_segments() -> None:
    centre = Centre()
    channel = f"/statistics/v3/values/Queue/{to_segment('büro/1 @switch')}/CallsEntered"
    await centre.feed(centre.event("cx.interaction.queued", interactionId="i", queue="büro/1 @switch"))
    listener = await centre.subscribe(channel)
    ((_, data),) = listener.taken()
    assert (data["objectId"], data["value"]["intValue"]) == ("büro/1 @switch", 1)


async def test_a_wildcard_stands_for_the_channels_that_are_open() -> None:
    centre = Centre(clock=RestlessClock())
    await centre.subscribe(CALLS, "/statistics/v3/values/Agent/bob/InboundCalls", "/statistics/v3/values/Agent/ana/OutboundCalls")
    listener = await centre.subscribe("/statistics/v3/values/Agent/ana/*", identifier="2")
    assert {channel for channel, _ in listener.taken()} == {CALLS, "/statistics/v3/values/Agent/ana/OutboundCalls"}
    everything = await centre.subscribe("/statistics/v3/values/**", identifier="3")
    assert len(everything.taken()) == 3


@pytest.mark.parametrize(
    ("channel", "says"),
    [
        ("/statistics/v3/values/Agent/ana", "expected /statistics/v3/values/{objectType}/{objectId}/{name}"),
        ("/statistics/v3/values/Agent/ana/InboundCalls/more", "expected /statistics/v3/values/{objectType}/{objectId}/{name}"),
        ("/statistics/v3/values/Robot/ana/InboundCalls", "objectType: expected"),
        ("/statistics/v3/values/Agent/ana/Nope", "name: expected"),
        ("/statistics/v3/values/Queue/q/InboundCalls", "name: expected"),
        ("/statistics/v3/values/Agent/a%0Ab/InboundCalls", "objectId: expected"),
    ],
)
async def test_a_channel_that_names_no_statistic_is_refused(channel: str, says: str) -> None:
    centre = Centre()
    with pytest.raises(RefusedError) as caught:
        await centre.subscribe(channel)
    assert caught.value.error is WireError.SUBSCRIPTION_INVALID
    assert caught.value.channel == channel
    assert says in caught.value.detail
    assert (await centre.server.report("t")).values == 0


def test_another_channel_is_no_values_channel() -> None:
    with pytest.raises(RefusedError, match="channel: expected"):
        parse_values_channel("/other/Agent/ana/InboundCalls")


async def test_too_many_open_channels() -> None:
    centre = Centre(max_values=1)
    await centre.subscribe(CALLS)
    with pytest.raises(RefusedError, match="at most 1 values channels") as caught:
        await centre.subscribe(STATE, identifier="2")
    assert caught.value.error is WireError.RATE_LIMITED
    await centre.subscribe(CALLS, identifier="3")
