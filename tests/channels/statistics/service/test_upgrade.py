"""A data folder of version 0.1.0 under this version, in the middle of a day: totals go on, open calls stay, nothing is zeroed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from hub.eventlog.sqlite import FILE_NAME, SqliteEventLog
from tests.channels.statistics.support import Centre, login
from tests.support.hub_process import HubProcess

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
    await centre.server.run_housekeeping()
    before = [await values(centre, owner, *FIGURES[owner]) for owner in FIGURES]
    await centre.server.stop()
    again = Centre(eventlog=centre.log, time="events")
    await again.server.restore()
    assert (await again.server.report("t")).events_applied == 0
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


# -- the whole folder, under a running hub --------------------------------------------------------------------------------------

ADMIN = "hubt_mAoewN7yq2_SPSbM7Ag4Hf2ItcFSn_1xrxp0fDaGhMY"
WALL = "hubt_owwoNU6AD6tTV1D7waCYw28TVXazsAC--0eE7xGrkYo"
"""Tokens that 0.1.0 gave out: one of an administrator, one of the tenant's own role ``wall``."""

NINE_MS = 1_773_133_200_000
"""09:00 of the recorded day."""


@contextmanager
def upgraded_hub(folder: Path) -> Iterator[HubProcess]:
    """A hub process of this version on the data folder that 0.1.0 left."""
    hub = HubProcess(folder, (), {"HUB_STATISTICS__CLOCK": "events", "HUB_STATISTICS__ZONE": "UTC"})
    hub.data_dir.mkdir()
    for name in ("events", "hub", "channels"):
        with closing(sqlite3.connect(hub.data_dir / f"{name}.db")) as file:
            file.executescript((RECORDED / f"{name}.sql").read_text())
            file.commit()
    hub.token = ADMIN
    try:
        yield hub.start()
    finally:
        hub.close()


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """One for all tests that leave it as they found it."""
    with upgraded_hub(tmp_path_factory.mktemp("upgraded")) as hub:
        yield hub


@pytest.fixture
def own_upgraded(tmp_path: Path) -> Iterator[HubProcess]:
    """One that the test may change."""
    with upgraded_hub(tmp_path) as hub:
        yield hub


def figures(hub: HubProcess, owner: str, *names: str, token: str = ADMIN) -> list[Any]:
    """Values of one object, by REST."""
    kind, identifier = owner.split(" ")
    items = [{"name": name, "objectType": kind, "objectId": identifier} for name in names]
    path, headers = "/statistics/v3/operations/get-statistic-ex", {"Authorization": f"Bearer {token}"}
    reply = httpx.post(f"{hub.url}{path}", json={"data": {"statistics": items}}, headers=headers, timeout=20)
    assert reply.status_code == 200, reply.text
    read = [item["value"] for item in reply.json()["data"]["statistics"]]
    return [value["stringValue"] if "stateValue" in value else value.get("floatValue", value["intValue"]) for value in read]


def lines(hub: HubProcess, event: str) -> list[dict[str, Any]]:
    """The log lines of one event."""
    found = (json.loads(line) for line in hub.log_path.read_text().splitlines() if f'"{event}"' in line)
    return [line for line in found if line["event"] == event]


def test_a_hub_starts_on_the_whole_folder_and_is_ready(upgraded: HubProcess) -> None:
    ready = upgraded.get("/readyz").json()
    assert ready["status"] == "ok"
    assert {part["status"] for part in ready["parts"].values()} == {"ok"}
    assert [line for line in upgraded.log_path.read_text().splitlines() if json.loads(line)["level"] in {"error", "critical"}] == []


def test_a_role_whose_patterns_covered_interactions_gains_the_operations_and_the_log_says_so(upgraded: HubProcess) -> None:
    gained = [
        {"role": line["role"], "tenant": line["tenant"], "operations": line["operations"]}
        for line in lines(upgraded, "role_gained_operations")
    ]
    assert gained == [{"role": "wall", "tenant": "acme", "operations": ["/interactions/events"]}]  # it could call /statistics/read
    assert [(line["role"], line["channels"]) for line in lines(upgraded, "role_hears_less")] == [("wall", "/nexus/v3/channels/**")]
    called = {
        role: [pattern for grant in grants if grant["action"] == "call" for pattern in grant["within"]]
        for role, grants in (
            (role, json.loads(upgraded.command("role", "show", role, "--tenant", "acme", "--json"))["grants"]) for role in ("wall", "board")
        )
    }
    assert called == {"wall": ["/statistics/read", "/interactions/events"], "board": ["/statistics/read"]}


def test_tokens_of_the_old_hub_are_good(upgraded: HubProcess) -> None:
    assert figures(upgraded, "Agent dee", "CurrentAgentState", token=WALL) == [FIGURES["Agent dee"]["CurrentAgentState"]]
    assert httpx.get(f"{upgraded.url}/nexus/v3/interactions", headers={"Authorization": f"Bearer {WALL}"}).status_code == 403


def test_an_endpoint_with_a_secret_that_is_refused_today_is_kept_and_warned_of(upgraded: HubProcess) -> None:
    (warned,) = lines(upgraded, "secrets_not_standard")
    assert (warned["endpoints"], warned["count"], warned["level"]) == (["ep_5288eb18a5658bbde8330edd"], 1, "warning")
    (kept,) = upgraded.get("/api/v1/endpoints").json()["data"]["endpoints"]
    assert (kept["id"], kept["enabled"]) == ("ep_5288eb18a5658bbde8330edd", True)


def test_a_messaging_channel_is_there(upgraded: HubProcess) -> None:
    assert [each["id"] for each in upgraded.get("/api/v1/messaging/channels").json()["data"]["channels"]] == ["support-sms"]


def test_totals_go_on_and_open_calls_stay_and_end(own_upgraded: HubProcess) -> None:
    for owner, before in FIGURES.items():
        same = [name for name in before if name in UNCHANGED]
        assert dict(zip(same, figures(own_upgraded, owner, *same), strict=True)) == {name: before[name] for name in same}
    assert figures(own_upgraded, "Queue sales", *BALANCE) == [6, 2, 2, 1, 22.25, 50]
    ends = [
        ("cx.interaction.established", 750, {"interactionId": "c10", "agentId": "dee", "callType": "inbound", "queue": "sales"}),
        ("cx.interaction.abandoned", 760, {"interactionId": "c5", "queue": "help"}),
        ("cx.agent.ready", 760, {"agentId": "bob"}),
        ("cx.interaction.released", 780, {"interactionId": "c7", "agentId": "ana"}),
        ("cx.interaction.released", 780, {"interactionId": "c9", "agentId": "ana"}),
    ]
    events = [
        {
            "specversion": "1.0",
            "source": "/recorded",
            "id": f"after-{number}",
            "type": kind,
            "time": datetime.fromtimestamp(NINE_MS / 1000 + second, UTC).isoformat(),
            "data": data,
        }
        for number, (kind, second, data) in enumerate(ends)
    ]
    reply = own_upgraded.post("/ingest/v1/events?past=true", events)
    assert (reply.status_code, reply.json()["data"]["accepted"]) == (200, len(events)), reply.text
    assert figures(own_upgraded, "Queue sales", *BALANCE) == [6, 3, 2, 0, (4 * 22.25 + 20) / 5, 40]
    assert figures(own_upgraded, "Queue help", *BALANCE) == [4, 2, 1, 0, (10 + 10 + 370) / 3, pytest.approx(100 * 2 / 3)]
    assert figures(own_upgraded, "Agent ana", "InboundCalls", "AverageHandlingTime") == [3, pytest.approx((60 + 100 + 115) / 3)]
    own_upgraded.kill9()
    own_upgraded.start()
    assert figures(own_upgraded, "Queue sales", *BALANCE) == [6, 3, 2, 0, (4 * 22.25 + 20) / 5, 40]
    assert len(lines(own_upgraded, "role_gained_operations")) == 1  # the second start changes nothing
