"""One end of a call: what it gives back of the link's window."""

from __future__ import annotations

import asyncio

import pytest

from hub.cluster.link.call import LinkCall
from hub.cluster.link.frames import CancelReason, FrameType
from hub.cluster.link.window import Window
from hub.cluster.ports import CallEndedError, LinkError, UnreachableError
from tests.world import take_turns


class FullLink:
    """A link of whose window nothing is left."""

    max_piece = 1000

    def __init__(self, left: int = 0) -> None:
        self.window = Window(1000)
        assert self.window.try_take(1000)
        self.window.give(left)

    def write(self, stream: int, kind: FrameType, payload: bytes = b"") -> None:
        """Nothing: no frame is looked at."""

    def consumed(self, cost: int) -> None:
        """Nothing comes."""

    def forget(self, call: LinkCall) -> None:
        """Nothing is kept of it."""


@pytest.mark.parametrize("answered", [False, True], ids=["no answer", "an answer before"])
async def test_a_piece_whose_call_ends_while_it_waits_takes_nothing(answered: bool) -> None:
    """Else a link would carry less with each upload that is refused amid its body, and nothing at last."""
    link = FullLink()
    call = LinkCall(link, 1, "b" * 12, 1, window=1000, answers=False, alone=False)
    sending = asyncio.create_task(call.send(b"x" * 100))
    await asyncio.sleep(0)
    if answered:
        call.arrived(b"413")
        call.ended()
    call.cancelled(CancelReason.ANSWERED)
    link.window.give(1000)
    with pytest.raises(CallEndedError):
        await sending
    assert link.window.used == 0


def call_over(link: FullLink) -> LinkCall:
    return LinkCall(link, 1, "b" * 12, 1, window=1000, answers=False, alone=False)


async def test_what_cannot_be_sent_now_takes_nothing() -> None:
    link = FullLink()
    call = call_over(link)
    assert not call.try_send(b"x" * 100)
    link.window.give(1000)
    assert call.try_send(b"x" * 100, last=True)
    assert link.window.used == 164
    with pytest.raises(CallEndedError):
        call.try_send(b"more")


async def test_a_call_says_when_there_is_something_to_take() -> None:
    call = call_over(FullLink(1000))
    seen: list[bytes | type[LinkError] | None] = []

    def look() -> None:
        try:
            while (piece := call.take()) is not None:
                seen.append(piece)
        except LinkError as error:
            seen.append(type(error))

    call.arrived(b"before")
    call.when_ready(look)
    assert seen == []  # not within the call
    await take_turns()
    call.arrived(b"after")
    await take_turns()
    assert call.take() is None
    call.broken(UnreachableError("the link broke"))
    await take_turns()
    assert seen == [b"before", b"after", UnreachableError]


async def test_after_its_last_piece_a_call_has_nothing_to_take() -> None:
    call = call_over(FullLink(1000))
    call.arrived(b"x")
    call.ended()
    assert call.take() == b"x"
    with pytest.raises(CallEndedError):
        call.take()


@pytest.mark.parametrize("way", ["told", "told before", "broken", "late"])
async def test_whether_a_reply_was_written_is_told_once(way: str) -> None:
    call = call_over(FullLink(1000))
    told: list[bool] = []
    if way == "told before":
        call.told(written=True)
    call.when_confirmed(told.append, 0.01 if way == "late" else 60.0)
    if way == "told":
        call.told(written=True)
    elif way == "broken":
        call.broken(UnreachableError("the link broke"))
    while not told:
        await asyncio.sleep(0.001)
    call.told(written=True)
    await take_turns()
    assert told == [way.startswith("told")]
