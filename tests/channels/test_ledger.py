"""The simulator's ledger against the statistics engine: two independent ways to count one day. Where they differ, one is wrong."""

from zoneinfo import ZoneInfo

import pytest

from channels.simulator.centre import DAY_MS, HOUR_MS, Centre, demo_centre, office_centre
from channels.simulator.ledger import QueueLedger
from channels.simulator.model import Model
from channels.statistics.engine.definition import ObjectType
from channels.statistics.engine.engine import Engine
from channels.statistics.engine.library import predefined
from channels.statistics.engine.values import Value

MIDNIGHT_MS = 1_772_323_200_000
"""2026-03-01 00:00 UTC."""


def _run(centre: Centre, seed: int, start_ms: int, end_ms: int) -> tuple[Model, Engine]:
    model = Model(centre, seed=seed, start_ms=start_ms, midnight_ms=MIDNIGHT_MS)
    engine = Engine(zone=ZoneInfo("UTC"), now_ms=start_ms)
    for event in model.run_until(end_ms):
        engine.check(event)
        engine.apply(event)
    engine.advance(end_ms)
    return model, engine


def _ask(engine: Engine, object_type: ObjectType, object_id: str, name: str) -> float:
    value: Value = engine.value(engine.open(predefined(name, object_type).definition, object_type, object_id))
    return value.int_value if value.float_value is None else value.float_value


def _differences(model: Model, engine: Engine, end_ms: int) -> dict[tuple[str, str], tuple[float, float]]:
    figures = model.ledger.as_json(end_ms)
    compared = 0
    different: dict[tuple[str, str], tuple[float, float]] = {}
    for part, object_type in (("agents", ObjectType.AGENT), ("queues", ObjectType.QUEUE), ("queues", ObjectType.ROUTE_POINT)):
        for object_id, stats in figures[part].items():
            for name, expected in stats.items():
                compared += 1
                got = _ask(engine, object_type, object_id, name)
                if got != pytest.approx(expected, abs=1e-9):
                    different[object_id, name] = (got, expected)
    assert compared == len(figures["agents"]) * 14 + len(figures["queues"]) * 2 * 8
    return different


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_office_day_is_counted_alike(seed: int) -> None:
    end_ms = MIDNIGHT_MS + DAY_MS - 1
    model, engine = _run(office_centre(), seed, MIDNIGHT_MS, end_ms)
    assert _differences(model, engine, end_ms) == {}
    assert sum(each.answered for each in model.ledger.queues.values()) > 500
    assert sum(each.transferred for each in model.ledger.agents.values()) > 5


@pytest.mark.parametrize(("seed", "hours"), [(4, 5.0), (5, 7.321)])
def test_a_busy_centre_is_counted_alike_in_the_middle_of_everything(seed: int, hours: float) -> None:
    end_ms = MIDNIGHT_MS + int(hours * HOUR_MS)
    model, engine = _run(demo_centre(load=1.5), seed, MIDNIGHT_MS + HOUR_MS, end_ms)
    assert _differences(model, engine, end_ms) == {}
    assert sum(each.overflowed for each in model.ledger.queues.values()) > 0


def test_groups_are_the_sum_of_their_members() -> None:
    end_ms = MIDNIGHT_MS + 16 * HOUR_MS
    model, engine = _run(office_centre(), 6, MIDNIGHT_MS, end_ms)
    members = {**model.centre.groups(), "All": [agent.id for agent in model.centre.agents]}
    for group, agents in members.items():
        for name in ("LoginDuration", "ReadyDuration", "TalkDuration", "HoldDuration", "WrapDuration", "InboundCalls", "MissedCalls"):
            expected = sum(model.ledger.agents[agent].figures(end_ms)[name] for agent in agents)
            assert _ask(engine, ObjectType.GROUP_AGENTS, group, name) == expected, (group, name)
    queue_groups = {**model.centre.queue_groups, "All": tuple(queue.name for queue in model.centre.queues)}
    for group, queues in queue_groups.items():
        for name in ("CallsEntered", "TotalAnswered", "TotalAbandoned", "TotalDistributed", "CurrentInQueue"):
            expected = sum(model.ledger.queues[queue].figures()[name] for queue in queues)
            assert _ask(engine, ObjectType.GROUP_QUEUES, group, name) == expected, (group, name)


def test_every_kind_of_thing_happens_in_these_days() -> None:
    model, _ = _run(demo_centre(load=1.5), 4, MIDNIGHT_MS, MIDNIGHT_MS + 5 * HOUR_MS)
    agents = model.ledger.agents.values()
    for count in ("inbound", "outbound", "internal", "consult", "missed", "refused", "transferred"):
        assert sum(getattr(each, count) for each in agents) > 0, count
    for count in ("entered", "answered", "abandoned", "abandoned_ringing", "distributed", "overflowed", "answered_in_time"):
        assert sum(getattr(each, count) for each in model.ledger.queues.values()) > 0, count


def test_the_ledger_of_a_queue_where_nothing_happened() -> None:
    assert set(QueueLedger().figures().values()) == {0}
