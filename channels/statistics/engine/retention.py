"""Objects that no event named for long are forgotten, so that ids that come only once do not fill the memory.

A login is something that is open: who is logged in stays on the wall, however quiet. A login whose logout was lost would stay for ever, so
after a longer silence it is over.
"""

from __future__ import annotations

from collections.abc import Iterator

from channels.statistics.engine.agent_rules import AgentRules
from channels.statistics.engine.centre import Centre
from channels.statistics.engine.objects import ALL, Agent, Group, Queue

A_PIECE = 64
"""Objects that are looked at in one piece: next to nothing, and 1 to 2 ms if all of them are forgotten."""


def forget_unheard(centre: Centre, older_than_ms: int) -> Iterator[int]:
    """Forget agents, queues, groups and staging areas that no event named since ``older_than_ms``, and on which nothing is open: no
    statistic, no interaction, no login. Yields after each piece how many it forgot.

    A group keeps the id of a member that ``cx.group.changed`` listed: it belongs to it again when it comes back. A group is forgotten when
    the last of its members is.
    """
    forgotten = 0
    for number, agent in enumerate(list(centre.agents.values()), 1):
        forgotten += _is_old(centre, agent, older_than_ms) and centre.forget_agent(agent)
        if number % A_PIECE == 0:
            yield forgotten
            forgotten = 0
    for number, queue in enumerate([*centre.queues.values(), *centre.areas.values()], 1):
        forgotten += _is_old(centre, queue, older_than_ms) and centre.forget_queue(queue)
        if number % A_PIECE == 0:
            yield forgotten
            forgotten = 0
    for kind in ("agents", "queues"):
        for number, group in enumerate(list(centre.groups_of(kind).values()), 1):
            forgotten += _is_old(centre, group, older_than_ms) and centre.forget_group(kind, group)
            if number % A_PIECE == 0:
                yield forgotten
                forgotten = 0
    yield forgotten


def end_lost_logins(centre: Centre, rules: AgentRules, lifetime_ms: int) -> Iterator[int]:
    """Log out the agents who take part in nothing, and of whom no event spoke for ``lifetime_ms``; at the moment at which that was over.
    Yields after each piece how many agents it logged out.
    """
    ended = 0
    for number, agent in enumerate(list(centre.agents.values()), 1):
        over_ms = agent.heard_ms + lifetime_ms
        media = agent.media.values()
        if media and agent.heard and over_ms <= centre.calendar.now_ms and not any(medium.parties for medium in media):
            rules.lose(agent, over_ms)
            ended += 1
        if number % A_PIECE == 0:
            yield ended
            ended = 0
    yield ended


def _is_old(centre: Centre, found: Agent | Queue | Group, older_than_ms: int) -> bool:
    """Whether nothing was heard of it since, and nothing is open on it."""
    board = found.board
    if not found.heard or found.heard_ms > older_than_ms or board.statistics or board.state_statistics:
        return False
    if isinstance(found, Agent):
        return not found.media  # those that it has are logged in, or an interaction goes on there
    if isinstance(found, Queue):
        return not found.waiting
    return found.id != ALL and not found.members
