import pytest

from channels.simulator.centre import HOUR_MS, Centre, demo_centre, office_centre


def _hourly(**by_hour: float) -> Centre:
    return Centre(queues=(), agents=(), hourly=tuple(by_hour.get(f"h{hour}", 0.0) for hour in range(24)))


def test_the_rate_of_an_hour_holds_in_its_middle_and_goes_straight_to_the_next() -> None:
    centre = _hourly(h9=60.0, h10=120.0)
    assert centre.rate_per_ms(int(9.5 * HOUR_MS)) * HOUR_MS == pytest.approx(60)
    assert centre.rate_per_ms(10 * HOUR_MS) * HOUR_MS == pytest.approx(90)
    assert centre.rate_per_ms(int(8.75 * HOUR_MS)) * HOUR_MS == pytest.approx(15)


def test_the_rate_goes_round_midnight() -> None:
    centre = _hourly(h0=60.0, h23=20.0)
    assert centre.rate_per_ms(0) * HOUR_MS == pytest.approx(40)
    assert centre.rate_per_ms(int(23.75 * HOUR_MS)) * HOUR_MS == pytest.approx(30)


@pytest.mark.parametrize("make", [demo_centre, office_centre])
@pytest.mark.parametrize("agents", [2, 12, 1000])
def test_agents_have_names_of_their_own_and_skills_that_exist(make: object, agents: int) -> None:
    centre: Centre = make(agents)  # type: ignore[operator]
    queues = {queue.name: queue for queue in centre.queues}
    assert len({agent.id for agent in centre.agents}) == len({agent.dn for agent in centre.agents}) == agents
    for agent in centre.agents:
        assert agent.queues
        assert {queues[name].media for name in agent.queues} <= set(agent.media)


def test_more_load_brings_more_customers() -> None:
    assert demo_centre(load=1.0).hourly[10] == pytest.approx(2 * demo_centre(load=0.5).hourly[10])


def test_groups_list_their_members() -> None:
    groups = demo_centre(8).groups()
    assert list(groups) == ["Team North", "Team South", "Team East", "Team West"]
    assert all(len(members) == 2 for members in groups.values())
