"""From a state of version 1 (release 0.1.0): totals go on, open calls stay.

What that version did not keep is made from what it did: a call that was distributed and neither answered nor lost waits again, the handling
time is seeded with the calls and the after-call work of the day, and each medium is at the place where the agent is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from channels.statistics.engine.centre import Centre
from channels.statistics.engine.definition import ACTION
from channels.statistics.engine.objects import Agent, Interaction, Wrap
from channels.statistics.engine.statistic import Board
from channels.statistics.engine.tally import Span
from channels.statistics.engine.vocabulary import AFTER_CALL_WORK, CALL_WAIT, CUSTOMER_CALLS, HANDLED, WRAPPED

VisitOf1 = tuple[int, bool, bool]
"""An interaction's stay in a queue as version 1 had it: second of its entry, whether it was answered, whether it went on or was lost."""


def upgrade_from_1(centre: Centre, stays: Mapping[str, Mapping[str, VisitOf1]]) -> None:
    """Complete a contact centre that was restored from a state of version 1; ``stays`` by interaction and queue."""
    for identifier, visits in stays.items():
        interaction = centre.known(identifier)
        assert interaction is not None, "every saved interaction is known"
        _waits_again(centre, interaction, visits)
    centre.live = dict(sorted(centre.live.items(), key=lambda each: each[1].touched_ms))
    for agent in centre.agents.values():
        _complete(agent)
        _seed_handling(agent.board)
    for group in centre.groups.values():
        _seed_handling(group.board)


def _waits_again(centre: Centre, interaction: Interaction, visits: Mapping[str, VisitOf1]) -> None:
    """In version 1 a call stopped waiting when it was distributed; now it waits until it is answered or lost."""
    for queue_id, (entered_s, answered, gone) in visits.items():
        waiting = centre.any_queue(queue_id).waiting
        interaction.visits[queue_id] = interaction.id not in waiting
        over = answered or gone or interaction.finished or any(party.talking for party in interaction.parties.values())
        if interaction.queue == queue_id and interaction.id not in waiting and not over:
            waiting[interaction.id] = Span((ACTION, CALL_WAIT, interaction.media), entered_s * 1000)
            if centre.idle.pop(interaction.id, None) is not None:
                centre.live[interaction.id] = interaction


def _complete(agent: Agent) -> None:
    """What an agent's media and calls did not say in version 1."""
    for medium in agent.media.values():
        medium.place = agent.place
        if agent.last_released is not None and agent.last_released[1] == medium.name:
            medium.handled_ms = agent.clock_ms
        span = medium.mode_span
        if span is not None and span.name == AFTER_CALL_WORK:
            medium.handled_ms = span.start_ms
            medium.wrap = Wrap(span.start_ms, span.start_ms)
        for party in medium.parties.values():
            if party.span.name in CUSTOMER_CALLS:
                party.customer_ms = party.span.start_ms


def _seed_handling(board: Board) -> None:
    """The handling time of the day so far, from the actions that version 1 made it of."""
    for names, name in ((CUSTOMER_CALLS, HANDLED), (frozenset((AFTER_CALL_WORK,)), WRAPPED)):
        durations: dict[str, Counter[int]] = {}
        surplus: Counter[str] = Counter()
        for (kind, action, media), accumulator in list(board.accumulators.items()):
            if kind == ACTION and action in names:
                accumulator.refresh()
                durations.setdefault(media, Counter()).update(accumulator.counts)
                durations[media].update(accumulator.recent)
                surplus[media] -= accumulator.adjust
        for media, counts in durations.items():
            board.at((ACTION, name, media)).load(_clipped(counts, surplus[media]), ())


def _clipped(counts: Counter[int], surplus_s: int) -> dict[int, int]:
    """Take away the seconds before the reset, which version 1 kept as one sum: from the longest ones, that must have them."""
    for duration in sorted(counts, reverse=True):
        while surplus_s > 0 and duration > 0 and counts[duration] > 0:
            taken = min(duration, surplus_s)
            counts[duration] -= 1
            counts[duration - taken] += 1
            surplus_s -= taken
    return {duration: count for duration, count in counts.items() if count > 0}
