"""Settings of the stat server: section ``statistics`` of the TOML file, ``HUB_STATISTICS__*`` in the environment."""

import os
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator

from channels.statistics.engine.bounds import Bounds, Lifetimes

_LOCALTIME = Path("/etc/localtime")


class StatisticsSettings(BaseModel):
    """How the stat server takes events, notifies and remembers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    zone: str | None = Field(
        None,
        description="Time zone of the contact centres, an IANA name like Europe/Madrid: growing windows reset at its midnight. "
        "Default: the system's zone, UTC where it has none.",
    )
    clock: Literal["wall", "events"] = Field(
        "wall",
        description="What moves time: the wall clock, or the events alone, for replays and tests; notifications keep real time.",
    )
    max_ahead_s: int = Field(
        300,
        ge=0,
        description="Seconds: events further in the future are refused, nearer ones wait for their time. Not with clock = events.",
    )
    max_behind_s: int = Field(
        86_400,
        ge=60,
        description="Seconds: older events are refused, unless they end something or come with ?past=true: a forgotten event of last month "
        "would stand on a wall as a wait of a month. Not with clock = events.",
    )
    watermark_s: float = Field(
        0,
        ge=0,
        le=3600,
        description="Seconds that events are held back, so that those of slower producers keep their order.",
    )
    immediate_object_ms: int = Field(
        200, ge=0, description="Milliseconds between Immediate notifications of an object's statistic, at least."
    )
    immediate_group_ms: int = Field(
        2000, ge=0, description="Milliseconds between Immediate notifications of a group's statistic, at least."
    )
    tick_ms: int = Field(20, ge=1, le=1000, description="Notifications of one login that fall into this many milliseconds leave as one.")
    login_idle_s: int = Field(
        600, ge=1, description="A login without a Bayeux session loses its subscriptions this many seconds after its last REST call."
    )
    answer_s: float = Field(
        10.0, gt=0, le=600, description="Seconds within which the stat server of another node must answer, before the answer is 504."
    )
    node_grace_s: float = Field(
        10.0,
        ge=0,
        le=3600,
        description="Seconds for which the logins of a node that has ended keep their subscriptions, for their clients to come to another.",
    )
    snapshot_events: int = Field(50_000, ge=1, description="Save the state after this many events: it bounds the replay after a restart.")
    snapshot_s: int = Field(60, ge=1, description="Save the state after this many seconds, if there were events.")
    retain_s: int = Field(
        600, ge=600, description="Keep events in the log at least this long behind a snapshot: repeats are told by them for ten minutes."
    )
    max_subscription_statistics: int = Field(5_000, ge=1, description="Statistics of one subscription.")
    max_login_statistics: int = Field(10_000, ge=1, description="Statistics of all subscriptions of one login.")
    max_login_subscriptions: int = Field(100, ge=1, description="Subscriptions of one login.")
    max_subject_statistics: int = Field(
        20_000,
        ge=1,
        description="Statistics of all logins of one subject: another cookie is no way around the limits of a login.",
    )
    max_tenant_statistics: int = Field(500_000, ge=1, description="Statistics of all logins of a tenant.")
    max_profiles: int = Field(
        100, ge=2, description="Different time profiles of a tenant's open statistics: each is one more tally that every event has to keep."
    )
    max_objects: int = Field(
        50_000,
        ge=1,
        description="Agents, queues, groups and staging areas of a tenant that events named: each is kept until it is forgotten. "
        "Events that name one more are refused; what is restored is not.",
    )
    max_interactions: int = Field(
        100_000,
        ge=1,
        description="Interactions of a tenant in which something goes on: they wait, ring, or are talked in. Events that open one more are "
        "refused, those that end one never; what is restored is not limited. As many that are over are remembered for some minutes.",
    )
    max_interaction_agents: int = Field(
        100, ge=1, description="Agents who take part in one interaction: its end ends what each of them does."
    )
    max_agent_interactions: int = Field(
        1_000, ge=1, description="Interactions in which one agent takes part: each event of the agent looks at all of them."
    )
    max_user_data_bytes: int = Field(
        64 * 1024,
        ge=1,
        description="Bytes of the userData of cx.interaction.queued as JSON: it is kept as long as its interaction, and shown with the "
        "state of its agents.",
    )
    max_all_user_data_bytes: int = Field(
        64 * 1024 * 1024,
        ge=1,
        description="Bytes of the userData of all interactions of a tenant that are not over. Events that bring more are refused.",
    )
    max_state_user_data_bytes: int = Field(
        4 * 1024 * 1024,
        ge=0,
        description="Bytes of userData in one value of CurrentState, of an agent or a group. Agents whose userData does not fit any more "
        "are shown without, with `userDataLeftOut`.",
    )
    max_media: int = Field(100, ge=1, description="Media of a tenant that events named: each has totals of its own wherever it comes to.")
    max_groups: int = Field(5_000, ge=1, description="Groups of a tenant that events named.")
    max_group_members: int = Field(5_000, ge=1, description="Members of a group: the state of a group holds that of each.")
    max_member_groups: int = Field(200, ge=1, description="Groups of an agent or queue: each event of it counts in all of them.")
    max_held: int = Field(100_000, ge=1, description="Events of a tenant that wait for their time, since they lie a little ahead.")
    max_held_bytes: int = Field(
        64 * 1024 * 1024, ge=1, description="Bytes of these events, as the log has them. Events that lie ahead are refused above it."
    )
    forget_after_s: int = Field(
        7 * 86_400,
        ge=60,
        description="Seconds: an agent, queue, group or staging area of which no event spoke for so long is forgotten, if no statistic and "
        "no interaction is open on it and the agent is logged out.",
    )
    agent_idle_s: int = Field(
        30 * 86_400,
        ge=60,
        description="Seconds without a word after which an agent who is logged in, and in no interaction, is taken for logged out, in the "
        "statistics alone: the logout was lost.",
    )
    voice_idle_s: int = Field(
        12 * 3600, ge=60, description="Seconds without a word after which a call is taken for finished, in the statistics alone."
    )
    media_idle_s: int = Field(
        7 * 86_400, ge=60, description="Seconds without a word after which an interaction of another medium is taken for finished there."
    )
    max_values: int = Field(20_000, ge=1, description="Channels /statistics/v3/values/... that are open at once, of one tenant.")

    max_places: int = Field(
        8,
        ge=1,
        description="Places at which an agent can be logged in on one medium; a login at one more ends the oldest, whose logout was lost.",
    )

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str | None) -> str | None:
        if zone is not None and not is_zone(zone):
            raise ValueError(f"expected an IANA time zone like Europe/Madrid, got {zone!r}")
        return zone

    def lifetimes(self) -> Lifetimes:
        """What the engine forgets after how long."""
        return Lifetimes(
            voice_ms=self.voice_idle_s * 1000,
            other_ms=self.media_idle_s * 1000,
            object_ms=self.forget_after_s * 1000,
            login_ms=self.agent_idle_s * 1000,
        )

    def bounds(self) -> Bounds:
        """How many of each thing the engine takes."""
        return Bounds(
            objects=self.max_objects,
            groups=self.max_groups,
            members=self.max_group_members,
            member_groups=self.max_member_groups,
            interactions=self.max_interactions,
            interaction_agents=self.max_interaction_agents,
            agent_interactions=self.max_agent_interactions,
            user_data_bytes=self.max_user_data_bytes,
            all_user_data_bytes=self.max_all_user_data_bytes,
            state_user_data_bytes=self.max_state_user_data_bytes,
            media=self.max_media,
            places=self.max_places,
        )

    def time_zone(self) -> ZoneInfo:
        """The zone that counts."""
        return ZoneInfo(self.zone or system_zone())


def is_zone(name: str) -> bool:
    """Whether ``name`` is a zone that this machine knows."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; not a relative path; a folder like "Europe"
        return False
    return True


def system_zone(localtime: Path = _LOCALTIME) -> str:
    """The system's zone by name: ``TZ``, else where ``/etc/localtime`` points to, else UTC."""
    named = os.environ.get("TZ", "").removeprefix(":")
    if named and is_zone(named):
        return named
    if localtime.is_symlink():
        _, found, name = str(localtime.readlink()).partition("zoneinfo/")
        if found and is_zone(name):
            return name
    return "UTC"
