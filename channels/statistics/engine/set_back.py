"""Setting engine time back, after a clock was ahead for a while.

Spans that began after the present begin now. Tallies of windows that began after it are reset, since their durations mean nothing. Totals
that nothing changed meanwhile stay, and the day goes on.
"""

from __future__ import annotations

from collections.abc import Iterator

from channels.statistics.engine.centre import Centre
from channels.statistics.engine.objects import Agent, Group, Interaction, Medium, Queue
from channels.statistics.engine.statistic import Board
from channels.statistics.engine.tally import Span

A_PIECE = 64
"""Objects that are set back in one piece: 1 ms or so."""


def set_back(centre: Centre, now_ms: int, order_ms: int) -> Iterator[None]:
    """Set engine time back to ``now_ms``, in pieces; nothing else may happen, and no value be read, before the last. Objects whose last
    event lies ahead of it take events from ``order_ms`` on.
    """
    centre.calendar.set_back(now_ms)
    found: list[Agent | Queue | Group | Interaction] = [
        *centre.agents.values(),
        *centre.queues.values(),
        *centre.areas.values(),
        *centre.groups.values(),
        *centre.queue_groups.values(),
        *centre.live.values(),
        *centre.idle.values(),
    ]
    for number, each in enumerate(found, 1):
        if isinstance(each, Interaction):
            each.touched_ms = min(each.touched_ms, now_ms)
            each.entered_s = min(each.entered_s, now_ms // 1000)
        else:
            each.heard_ms = min(each.heard_ms, now_ms)
        if not isinstance(each, Queue) and each.last_ms > now_ms:
            each.last_ms = order_ms
        if isinstance(each, Agent):
            _set_agent(each, now_ms)
        elif isinstance(each, Queue):
            for span in each.waiting.values():
                _set_span(span, now_ms)
        elif isinstance(each, Group):
            each.members = {one: (member, min(joined_ms, now_ms)) for one, (member, joined_ms) in each.members.items()}
        if number % A_PIECE == 0:
            yield
    for number, each in enumerate(found, 1):  # when all spans are set back: a group's are those of its members
        if not isinstance(each, Interaction):
            yield from _set_board(each.board, now_ms)
        if isinstance(each, Agent | Queue):
            each.fans.clear()
        if number % A_PIECE == 0:
            yield


def _set_agent(agent: Agent, now_ms: int) -> None:
    agent.clock_ms = min(agent.clock_ms, now_ms)
    agent.states = {}
    for span in agent.spans():
        _set_span(span, now_ms)
    for medium in agent.media.values():
        _set_medium(medium, now_ms)


def _set_medium(medium: Medium, now_ms: int) -> None:
    if medium.handled_ms is not None:
        medium.handled_ms = min(medium.handled_ms, now_ms)
    if (wrap := medium.wrap) is not None:
        if wrap.since_ms is not None:
            wrap.since_ms = min(wrap.since_ms, now_ms)
        wrap.ended_ms = min(wrap.ended_ms, now_ms)
    for party in medium.parties.values():
        if party.customer_ms is not None:
            party.customer_ms = min(party.customer_ms, now_ms)


def _set_span(span: Span, now_ms: int) -> None:
    if span.start_ms > now_ms:
        span.start_ms, span.start_s = now_ms, now_ms // 1000


def _set_board(board: Board, now_ms: int) -> Iterator[None]:
    for window in board.windows:
        window.opened_ms = min(window.opened_ms, now_ms)
    for accumulator in board.accumulators.values():
        for tally, window in zip((accumulator, *accumulator.extra), board.windows, strict=True):
            if tally.since_ms > window.since_ms:
                tally.restart(window.since_ms)
        yield from accumulator.set_back(now_ms)
        accumulator.touch()
    board.touch()
