"""What there is only so much of, divided among tenants."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.outbox.shares import Line, Pool, Turns


def test_one_tenant_leaves_half_of_it_free_for_those_who_may_come() -> None:
    pool = Pool(100, 0.25)
    first, second, third = pool.of("a"), pool.of("b"), pool.of("c")
    assert first.room == 50
    first.add(50)
    assert (first.room, second.room) == (0, 25)
    second.add(25)
    assert (second.room, third.room) == (0, 25)
    third.add(25)
    assert [each.room for each in (first, second, third, pool.of("d"))] == [0, 0, 0, 0]
    first.add(-10)
    assert (first.room, pool.of("d").room) == (0, 10), "who has more than its share gets nothing of what is given back"


def test_who_is_alone_may_have_all_of_it() -> None:
    pool = Pool(8, 0.25)
    pool.alone = True
    assert pool.of("a").room == 8
    pool.of("a").add(8)
    pool.alone = False
    assert (pool.of("a").room, pool.of("b").room) == (0, 0)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_small_pool_has_at_least_one_for_each(size: int) -> None:
    assert Pool(size, 0.25).of("a").room >= 1


def test_who_has_nothing_is_forgotten() -> None:
    pool = Pool(8, 0.25)
    pool.of("a").add(1)
    kept = pool.of("b")
    pool.of("c")
    pool.forget_unused(but={"b"})
    assert pool.of("b") is kept
    assert pool.of("a").used == 1
    assert (pool.room_of("nobody"), pool.used) == (3, 1)


def served(line: Line, pool: Pool, most: int = 100) -> list[str]:
    """Who gets a place, one after the other."""
    found = []
    while len(found) < most and (each := line.next()) is not None:
        pool.of(each[0]).add(1)
        found.append(each[1])
    return found


def test_tenants_have_their_turn_and_their_members_among_them() -> None:
    pool = Pool(100, 0.25)
    line = Line(pool)
    for member in ("a1", "a2", "a3", "a1"):
        line.join("a", member)
    line.join("b", "b1")
    assert len(line) == 4
    assert served(line, pool) == ["a1", "b1", "a2", "a3"]
    assert line.next() is None


def test_who_has_its_share_is_passed_over_until_it_gives_some_back() -> None:
    pool = Pool(4, 0.25)
    line = Line(pool)
    pool.of("a").add(2)
    line.join("a", "a1")
    line.join("b", "b1")
    assert served(line, pool) == ["b1"]
    pool.of("a").add(-2)
    assert served(line, pool) == ["a1"]


def test_what_waits_in_memory_is_taken_by_tenants_in_turn_and_in_order() -> None:
    turns: Turns[int] = Turns(Pool(100, 0.25))
    for number in range(5):
        turns.append("a", number)
    turns.append("b", 10)
    turns.append("b", 11)
    assert turns.take(4) == [0, 10, 1, 11]
    turns.put_back("a", 1)
    assert (turns.take(10), len(turns)) == ([1, 2, 3, 4], 0)
    assert turns.take(10) == []


@given(size=st.integers(1, 40), share=st.floats(0.01, 1), seed=st.integers(0, 10_000))
def test_whatever_happens_nobody_has_more_than_there_is_and_who_waits_is_served(size: int, share: float, seed: int) -> None:
    chance = random.Random(seed)
    pool = Pool(size, share)
    line = Line(pool)
    used: dict[str, int] = {}
    for _ in range(200):
        tenant = chance.choice("abcdef")
        if chance.random() < 0.6:
            line.join(tenant, f"{tenant}{chance.randrange(3)}")
        elif used.get(tenant):
            used[tenant] -= 1
            pool.of(tenant).add(-1)
        while chance.random() < 0.7 and (each := line.next()) is not None:
            others = pool.used - used.get(each[0], 0)
            used[each[0]] = used.get(each[0], 0) + 1
            pool.of(each[0]).add(1)
            assert used[each[0]] <= pool.share or pool.used <= size - pool.kept_free, (used, others)
        assert pool.used == sum(used.values()) <= size
        assert all(pool.of(tenant).used == count for tenant, count in used.items())
    # once all have given back what they had, everybody who waits is served
    for tenant, count in used.items():
        pool.of(tenant).add(-count)
    while len(line):
        each = line.next()
        assert each is not None
