"""How long things that nothing is heard of are kept, and how many of each there may be. Both are set by whoever makes the engine."""

from __future__ import annotations

from dataclasses import dataclass

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Milliseconds of engine time without a word after which something ends."""

    voice_ms: int = 12 * _HOUR_MS
    """An interaction on voice is taken for finished."""
    other_ms: int = 7 * _DAY_MS
    """An interaction on another medium is taken for finished."""
    object_ms: int = 7 * _DAY_MS
    """An agent, a queue, a group or a staging area in which nothing is open is forgotten."""
    login_ms: int = 30 * _DAY_MS
    """An agent who is logged in is taken for logged out: the logout was lost."""

    def of(self, media: str) -> int:
        """That of an interaction on a medium."""
        return self.voice_ms if media == "voice" else self.other_ms


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many there may be in one tenant. They apply to what events add, not to what is restored."""

    objects: int = 50_000
    """Agents, queues, groups and staging areas that events named."""
    groups: int = 5_000
    members: int = 5_000
    """Of one group."""
    member_groups: int = 200
    """Groups of one agent or queue, ``All`` not counted."""
    interactions: int = 100_000
    """In which something goes on. As many of those that are over are remembered for a while, so that what comes late is told apart."""
    interaction_agents: int = 100
    """Who take part in one interaction: its end ends what each of them does."""
    agent_interactions: int = 1_000
    """In which one agent takes part: each event of the agent looks at all of them."""
    user_data_bytes: int = 64 * 1024
    """Of the JSON of an interaction's ``userData``: it is kept as long as the interaction, and shown with the state of its agents."""
    all_user_data_bytes: int = 64 * 1024 * 1024
    """Of the JSON of the ``userData`` of all interactions that are not over."""
    state_user_data_bytes: int = 4 * 1024 * 1024
    """Of the JSON of the user data in one value of CurrentState: it is repeated for each agent of an interaction."""
    media: int = 100
    """Each has totals of its own at every agent, queue and group that it comes to."""
    places: int = 8
    """At which one agent is logged in on one medium; a login at one more ends the oldest, whose logout was lost."""


DEFAULT_LIFETIMES = Lifetimes()
DEFAULT_BOUNDS = Bounds()
