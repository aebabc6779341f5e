"""One end of a call: what it gives back of the link's window."""

from __future__ import annotations

import asyncio

import pytest

from hub.cluster.link.call import LinkCall
from hub.cluster.link.frames import CancelReason, FrameType
from hub.cluster.link.window import Window
from hub.cluster.ports import CallEndedError


class FullLink:
    """A link of whose window nothing is left."""

    max_piece = 1000

    def __init__(self) -> None:
        self.window = Window(1000)
        assert self.window.try_take(1000)

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
