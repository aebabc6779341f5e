"""A data folder of version 0.1.0 under this version, in the middle of a day: totals go on, open calls stay, nothing is zeroed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hub.eventlog.sqlite import FILE_NAME, SqliteEventLog
from tests.channels.statistics.support import Centre, login

RECORDED = Path(__file__).parents[1] / "recorded_0_1_0"
FIGURES: dict[str, dict[str, Any]] = json.loads((RECORDED / "figures.json").read_text())
"""What 0.1.0 showed, by object type and id."""


@pytest.fixture
async def centre(tmp_path: Path) -> AsyncIterator[Centre]:
    """This version, restored from what 0.1.0 left."""
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as file:
        file.executescript((RECORDED / "events.sql").read_text())
        file.execute("UPDATE streams SET tenant = 't'")
        file.commit()
    log = SqliteEventLog(tmp_path)
    made = Centre(eventlog=log, time="events")
    await made.server.restore()
    yield made
    await log.close()


async def values(centre: Centre, owner: str, *names: str) -> list[Any]:
    """Values of one object; the name of the status of an agent's state."""
    kind, identifier = owner.split(" ")
    items = [{"name": name, "objectType": kind, "objectId": identifier} for name in names]
    done = await centre.server.read(login(), items)
    assert done.refusals == []
    found = [reading.value for reading in done.readings]
    return [value["stringValue"] if "stateValue" in value else value.get("floatValue", value["intValue"]) for value in found]


UNCHANGED = {
    "LoginDuration", "ReadyDuration", "NotReadyDuration", "TalkDuration", "HoldDuration", "WrapDuration", "InboundCalls", "OutboundCalls",
    "MissedCalls", "TimeInCurrentState", "CurrentAgentState", "CurrentGroupState", "CurrentLoggedInAgents", "CurrentNumberInCall",
    "CallsEntered", "TotalAnswered", "TotalDistributed", "AverageDistributionTime",
}  # fmt: skip
"""What means the same as in 0.1.0."""


@pytest.mark.parametrize("owner", FIGURES)
async def test_an_upgrade_zeroes_nothing(centre: Centre, owner: str) -> None:
    before = FIGURES[owner]
    now = dict(zip(before, await values(centre, owner, *before), strict=True))
    assert {name: now[name] for name in UNCHANGED & before.keys()} == {name: before[name] for name in UNCHANGED & before.keys()}
    assert [name for name, value in before.items() if value and not now[name]] == []


BALANCE = ("CallsEntered", "TotalAnswered", "TotalAbandoned", "CurrentInQueue", "AverageWaitingTime", "ServiceLevel")


async def test_what_means_something_else_now_is_made_from_what_0_1_0_kept(centre: Centre) -> None:
    # six entered: answered after 10 and 8 s, lost after 11 (ringing) and 60, one went on to help, one rings
    assert await values(centre, "Queue sales", *BALANCE) == [6, 2, 2, 1, 22.25, 50]
    assert await values(centre, "Queue help", *BALANCE) == [4, 2, 0, 1, 10, 100]  # one of the four was cleared
    assert await values(centre, "Agent ana", "AverageHandlingTime") == [60]  # 30 after midnight, and 30 of after-call work
    assert await values(centre, "Agent bob", "AverageHandlingTime") == [90]  # (100 + 30 + 50) / 2, and work that goes on
    assert await values(centre, "GroupAgents north", "AverageHandlingTime") == [80]


async def test_open_calls_stay_and_end_as_if_nothing_had_happened(centre: Centre) -> None:
    await centre.feed(
        centre.event("cx.interaction.established", 750, interactionId="c10", agentId="dee", callType="inbound", queue="sales"),
        centre.event("cx.interaction.abandoned", 760, interactionId="c5", queue="help"),
        centre.event("cx.agent.ready", 760, agentId="bob"),
        centre.event("cx.interaction.released", 780, interactionId="c7", agentId="ana"),
        centre.event("cx.interaction.released", 780, interactionId="c9", agentId="ana"),
    )
    # c10 came at 730 and was answered after 20 s; c5 came to help at 390 and is lost after 370
    assert await values(centre, "Queue sales", *BALANCE) == [6, 3, 2, 0, (4 * 22.25 + 20) / 5, 40]
    assert await values(centre, "Queue help", *BALANCE) == [4, 2, 1, 0, (10 + 10 + 370) / 3, 100 * 2 / 3]
    # bob's after-call work went on from 660 to 760, ana's call from 680 to 780, her chat from 665 to 780
    assert await values(centre, "Agent bob", "AverageHandlingTime") == [(180 + 100) / 2]
    assert await values(centre, "Agent ana", "AverageHandlingTime", "InboundCalls") == [pytest.approx((60 + 100 + 115) / 3), 3]


async def test_an_upgraded_state_is_saved_in_the_present_form(centre: Centre) -> None:
    await centre.server.keep_house()
    before = [await values(centre, owner, *FIGURES[owner]) for owner in FIGURES]
    await centre.server.stop()
    again = Centre(eventlog=centre.log, time="events")
    await again.server.restore()
    assert again.server.report("t").events_applied == 0
    assert [await values(again, owner, *FIGURES[owner]) for owner in FIGURES] == before


async def test_the_log_alone_gives_the_day_too(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as file:
        file.executescript((RECORDED / "events.sql").read_text())
        file.executescript("UPDATE streams SET tenant = 't'; DELETE FROM snapshots;")
        file.commit()
    log = SqliteEventLog(tmp_path)
    replayed = Centre(eventlog=log, time="events")
    await replayed.server.restore()
    assert await values(replayed, "Queue sales", *BALANCE) == [6, 2, 2, 1, 22.25, 50]
    assert await values(replayed, "GroupAgents north", "AverageHandlingTime") == [80]
    await log.close()
