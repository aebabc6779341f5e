"""Which messages are newer than values that another node gave: by the epoch of its owner, then by the order in which it published."""

from __future__ import annotations

import pytest

from hub.bus.interface import Envelope
from hub.bus.memory import MemoryBus
from hub.core.delivery import DeliveryClass
from hub.core.fetches import Fetches, Stamp
from hub.core.message import Topic
from hub.eventlog.channel_log_memory import MemoryChannelLog
from tests.world import ManualClock

STAMP = Stamp("owner", 5, 100)


@pytest.fixture
def fetches() -> Fetches:
    return Fetches(MemoryBus(MemoryChannelLog(ManualClock())), 1000)


def came(fetches: Fetches, data: bytes, *, sequence: int, epoch: int = 5, origin: str = "owner", audience: str = "") -> None:
    topic = Topic("t", audience, "/c")
    fetches.note(Envelope(topic, DeliveryClass.STATE, data, origin=origin, sequence=sequence, epoch=epoch))


@pytest.mark.parametrize(
    ("message", "is_newer"),
    [
        ({"sequence": 100}, False),
        ({"sequence": 101}, True),
        ({"sequence": 101, "epoch": 4, "origin": "before"}, False),
        ({"sequence": 1, "epoch": 6, "origin": "after"}, True),
        ({"sequence": 1, "origin": "after"}, True),
    ],
)
def test_what_is_newer(fetches: Fetches, message: dict[str, object], is_newer: bool) -> None:
    with fetches.fetch("t", "") as fetch:
        came(fetches, b"1", **message)  # type: ignore[arg-type]
        assert fetch.newer("/c", STAMP) == ([b"1"] if is_newer else [])
        assert fetch.newer("/other", STAMP) == []


def test_another_owner_without_epochs_is_newer_only_if_it_came_meanwhile(fetches: Fetches) -> None:
    with fetches.fetch("t", "") as before:
        came(fetches, b"1", sequence=1, origin="another")
        with fetches.fetch("t", "") as after:
            assert before.newer("/c", STAMP) == [b"1"]
            assert after.newer("/c", STAMP) == []


def test_of_a_login_all_messages_are_kept_of_all_the_newest_one(fetches: Fetches) -> None:
    with fetches.fetch("t", "") as for_all, fetches.fetch("t", "login") as for_one:
        for number in (101, 102):
            came(fetches, b"%d" % number, sequence=number)
            came(fetches, b"%d" % number, sequence=number, audience="login")
            came(fetches, b"no", sequence=number, audience="another")
        assert for_all.newer("/c", STAMP) == [b"102"]
        assert for_one.newer("/c", STAMP) == [b"101", b"102"]


def test_more_than_is_kept_is_told_and_the_next_one_begins_anew(fetches: Fetches) -> None:
    with fetches.fetch("t", "login") as fetch:
        came(fetches, b"x" * 1001, sequence=101, audience="login")
        assert fetch.too_many
        with fetches.fetch("t", "login") as again:
            came(fetches, b"1", sequence=102, audience="login")
            assert not again.too_many
            assert again.newer("/c", STAMP) == [b"1"]
        assert fetch.too_many


def test_nothing_is_kept_when_nobody_asks(fetches: Fetches) -> None:
    with fetches.fetch("t", ""), fetches.fetch("t", "login"):
        pass
    came(fetches, b"1", sequence=101)
    assert not fetches._watched


async def test_a_hub_that_is_alone_waits_for_nobody(fetches: Fetches) -> None:
    assert await fetches.stamp("t", 3) == Stamp("local", 3, 0)
    await fetches.settle("t")
