from collections import Counter
from dataclasses import replace

import pytest

from channels.events import (
    AgentLogin,
    AgentLogout,
    Event,
    GroupChanged,
    InteractionAbandoned,
    InteractionDistributed,
    InteractionEstablished,
    InteractionFinished,
    InteractionReleased,
    InteractionStarted,
    encode_cloudevent,
)
from channels.simulator.centre import DAY_MS, HOUR_MS, AgentProfile, Centre, QueueProfile, demo_centre, office_centre
from channels.simulator.model import Model
from channels.simulator.status import Status

MIDNIGHT_MS = 1_772_323_200_000


def _model(centre: Centre | None = None, *, seed: int = 1, hour: float = 0, **options: object) -> Model:
    return Model(centre or office_centre(), seed=seed, start_ms=MIDNIGHT_MS + int(hour * HOUR_MS), midnight_ms=MIDNIGHT_MS, **options)  # type: ignore[arg-type]


def _events(model: Model, hour: float) -> list[Event]:
    return list(model.run_until(MIDNIGHT_MS + int(hour * HOUR_MS)))


def _one_queue(**queue: object) -> Centre:
    """One queue, one agent, a customer a minute."""
    return Centre(
        queues=(replace(QueueProfile("billing", wrap_probability=0.0), **queue),),  # type: ignore[arg-type]
        agents=(AgentProfile("ana", "P1", "7001", ("voice",), ("billing",), ("Team",), 0, 80_000),),
        hourly=(60.0,) * 24,
        missed_probability=0.0,
        refused_probability=0.0,
    )


def test_the_same_seed_gives_the_same_bytes() -> None:
    first, second = (b"".join(encode_cloudevent(event) for event in _events(_model(seed=7), 24)) for _ in range(2))
    assert first == second


def test_another_seed_gives_another_day() -> None:
    assert _events(_model(seed=7), 12) != _events(_model(seed=8), 12)


def test_it_does_not_matter_in_which_steps_time_goes() -> None:
    model = _model()
    stepwise = [event for quarter in range(1, 97) for event in model.run_until(MIDNIGHT_MS + quarter * HOUR_MS // 4)]
    assert stepwise == _events(_model(), 24)


def test_events_come_in_the_order_of_time_each_with_its_own_id() -> None:
    events = _events(_model(demo_centre()), 3)
    times = [event.time_ms for event in events]
    assert times == sorted(times)
    assert times[0] == MIDNIGHT_MS
    assert times[-1] <= MIDNIGHT_MS + 3 * HOUR_MS
    assert len({event.id for event in events}) == len(events)


def test_next_is_when_something_happens_next() -> None:
    model = _model(demo_centre())
    list(model.run_until(MIDNIGHT_MS))
    next_ms = model.next_ms
    assert next_ms is not None
    assert list(model.run_until(next_ms - 1)) == []
    assert all(event.time_ms == next_ms for event in model.run_until(next_ms))


def test_an_office_day_begins_and_ends_empty() -> None:
    model = _model()
    events = _events(model, 24)
    logins = [event for event in events if isinstance(event.data, AgentLogin)]
    assert len(logins) == 12
    assert min(event.time_ms for event in logins) >= MIDNIGHT_MS + 7 * HOUR_MS
    assert all(each.status is Status.LOGGED_OUT for each in model.ledger.agents.values())
    assert all(each.waiting == 0 for each in model.ledger.queues.values())


@pytest.mark.parametrize("agents", [40, 400])
def test_a_demo_centre_never_closes(agents: int) -> None:
    model = _model(demo_centre(agents))
    for quarter in range(1, 97 if agents == 40 else 9):
        list(model.run_until(MIDNIGHT_MS + quarter * HOUR_MS // 4))
        present = sum(each.status is not Status.LOGGED_OUT for each in model.ledger.agents.values())
        assert 0.62 * agents <= present <= 0.8 * agents


def test_every_interaction_that_starts_finishes_once_and_last() -> None:
    events = _events(_model(), 24)
    started = [event.data.interaction_id for event in events if isinstance(event.data, InteractionStarted)]
    finished = [event.data.interaction_id for event in events if isinstance(event.data, InteractionFinished)]
    assert sorted(started) == sorted(finished)
    assert len(set(started)) == len(started) > 100
    done: set[str] = set()
    for event in events:
        identifier = getattr(event.data, "interaction_id", None)
        assert identifier not in done or event.type == "cx.agent.aftercallwork"
        if isinstance(event.data, InteractionFinished):
            done.add(event.data.interaction_id)


def test_who_is_connected_is_released_or_transferred() -> None:
    parts: Counter[tuple[str, str]] = Counter()
    for event in _events(_model(), 24):
        match event.type, event.data:
            case "cx.interaction.established", InteractionEstablished(interaction_id=call, agent_id=agent):
                parts[call, agent] += 1
            case "cx.interaction.released", InteractionReleased(interaction_id=call, agent_id=agent):
                parts[call, agent] -= 1
            case "cx.interaction.transferred", moved:
                parts[moved.interaction_id, moved.from_agent_id] -= 1  # type: ignore[attr-defined]
                parts[moved.interaction_id, moved.to_agent_id] += 1  # type: ignore[attr-defined]
    unanswered = [part for part, count in parts.items() if count < 0]
    assert [part for part, count in parts.items() if count > 0] == []
    assert all(count >= -1 for count in parts.values())
    assert 0 < len(unanswered) < 60  # outbound calls that nobody took


def test_groups_are_told_first() -> None:
    events = _events(_model(), 1)
    groups = {event.data.group_id: event.data for event in events if isinstance(event.data, GroupChanged)}
    assert set(groups) == {"Team North", "Team South", "Phone", "Digital"}
    assert groups["Phone"].kind == "queues"
    assert "ana.lopez" in groups["Team North"].members


def test_a_start_within_the_day_logs_in_who_is_within_a_shift() -> None:
    model = _model(hour=12)
    logins = [event for event in _events(model, 12.01) if isinstance(event.data, AgentLogin)]
    assert len(logins) == 12


def test_a_start_after_another_run_ends_what_that_left() -> None:
    model = _model(log_out_first=True, unfinished=[("old.1", "chat")])
    events = _events(model, 0)
    finished = [event for event in events if isinstance(event.data, InteractionFinished)]
    assert [(event.data.interaction_id, event.data.media) for event in finished] == [("old.1", "chat")]  # type: ignore[attr-defined]
    assert sum(isinstance(event.data, AgentLogout) for event in events) == 12
    assert {event.time_ms for event in events} == {MIDNIGHT_MS}


def test_winding_up_leaves_nobody_and_nothing() -> None:
    model = _model(demo_centre())
    begun = Counter[str]()
    for event in [*_events(model, 2), *model.wind_up(MIDNIGHT_MS + 2 * HOUR_MS)]:
        if isinstance(event.data, InteractionStarted | InteractionFinished):
            begun[event.data.interaction_id] += 1 if isinstance(event.data, InteractionStarted) else -1
    assert set(begun.values()) == {0}
    assert all(each.status is Status.LOGGED_OUT for each in model.ledger.agents.values())
    assert model.next_ms is None
    assert list(model.run_until(MIDNIGHT_MS + DAY_MS)) == []


def test_more_customers_come_at_busy_hours() -> None:
    hours: Counter[int] = Counter()
    for event in _events(_model(), 24):
        if isinstance(event.data, InteractionStarted) and event.data.subtype == "InboundNew":
            hours[(event.time_ms - MIDNIGHT_MS) // HOUR_MS] += 1
    assert hours[10] > 1.5 * hours[17] > 0
    assert hours[3] == 0


def test_arrivals_follow_the_rate() -> None:
    model = _model(_one_queue(), hour=0)
    _events(model, 20)
    assert 1080 < model.ledger.queues["billing"].entered < 1320  # Poisson, mean 1,200: 3.5 deviations


def test_impatient_customers_leave_and_patient_ones_wait() -> None:
    impatient, patient = _model(_one_queue(patience_s=20.0)), _model(_one_queue(patience_s=None))
    _events(impatient, 3)
    _events(patient, 3)
    assert impatient.ledger.queues["billing"].abandoned > 50
    assert patient.ledger.queues["billing"].abandoned == 0
    assert patient.ledger.queues["billing"].waiting > 50


def test_somebody_gives_up_while_it_rings() -> None:
    model = _model(_one_queue(patience_s=3.0, handling_s=10.0))
    ringing = [e for e in _events(model, 3) if isinstance(e.data, InteractionAbandoned) and e.data.agent_id]
    assert ringing
    assert model.ledger.queues["billing"].abandoned_ringing == model.ledger.agents["ana"].missed == len(ringing)


def test_a_call_that_rang_out_is_the_next_one_again() -> None:
    model = _model(replace(_one_queue(patience_s=None), missed_probability=1.0))
    events = _events(model, 1)
    offered = [event.data.interaction_id for event in events if isinstance(event.data, InteractionDistributed)]
    assert len(offered) > 5
    assert len(set(offered)) == 1


def test_a_refused_call_is_counted_as_refused() -> None:
    model = _model(replace(_one_queue(patience_s=None), refused_probability=1.0))
    _events(model, 1)
    assert model.ledger.agents["ana"].refused > 0
    assert model.ledger.agents["ana"].missed == 0


def test_who_waits_too_long_moves_on() -> None:
    centre = _one_queue(patience_s=None, overflow_to="second", overflow_s=30.0)
    agents = (*centre.agents, AgentProfile("ben", "P2", "7002", ("voice",), ("second",), ("Team",), 0, 80_000))
    model = _model(replace(centre, queues=(*centre.queues, QueueProfile("second", share=0.0001)), agents=agents))
    moved = [e for e in _events(model, 1) if isinstance(e.data, InteractionDistributed) and e.data.to_queue == "second"]
    assert moved
    assert model.ledger.queues["billing"].overflowed == len(moved)
    assert model.ledger.queues["second"].answered > 0


def test_there_is_nowhere_to_move_to() -> None:
    model = _model(_one_queue(patience_s=None, overflow_to="closed", overflow_s=30.0))
    assert not [e for e in _events(model, 1) if isinstance(e.data, InteractionDistributed) and e.data.to_queue]


def test_nobody_comes() -> None:
    model = _model(replace(_one_queue(), hourly=(0.0,) * 24))
    assert not [event for event in _events(model, 24) if isinstance(event.data, InteractionStarted)]


def test_a_consultation_needs_a_colleague() -> None:
    model = _model(_one_queue(consult_probability=1.0))
    assert not [event for event in _events(model, 2) if event.type == "cx.interaction.held"]
    assert model.ledger.agents["ana"].inbound > 0


def test_a_shift_may_end_within_a_break() -> None:
    agent = AgentProfile(
        "ana", "P1", "7001", ("voice",), ("billing",), ("Team",), 0, 3600, breaks=((3000, 1200, "lunch"), (4000, 60, "late"))
    )
    model = _model(replace(_one_queue(), agents=(agent,), hourly=(0.0,) * 24))
    events = [event.type for event in _events(model, 3) if event.type.startswith("cx.agent")]
    assert events == ["cx.agent.login", "cx.agent.ready", "cx.agent.notready", "cx.agent.logout"]
