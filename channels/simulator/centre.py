"""The parts of a simulated contact centre: queues, agents, groups, and the customers of each hour."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True, slots=True)
class QueueProfile:
    """One queue. Durations are means, in seconds; handling and wrap are log-normal, patience exponential."""

    name: str
    media: str = "voice"
    share: float = 1.0
    """The share of the customers, relative to the other queues."""
    handling_s: float = 180.0
    handling_sigma: float = 0.6
    """Spread of the log-normal handling time: the standard deviation of its logarithm."""
    wrap_s: float = 25.0
    wrap_probability: float = 0.85
    patience_s: float | None = 90.0
    """Mean seconds until the customer gives up; None: never (an e-mail)."""
    hold_probability: float = 0.0
    consult_probability: float = 0.0
    """The probability that the agent asks a colleague; more than half of these calls end in a transfer."""
    overflow_to: str = ""
    overflow_s: float = 0.0
    """Seconds of waiting after which a call moves to ``overflow_to``, if that is set."""


@dataclass(frozen=True, slots=True)
class AgentProfile:
    """One agent, and when they work."""

    id: str
    place: str
    dn: str
    media: tuple[str, ...]
    queues: tuple[str, ...]
    """The queues that the agent serves."""
    groups: tuple[str, ...]
    shift_start_s: int
    """Seconds after midnight."""
    shift_s: int
    breaks: tuple[tuple[int, int, str], ...] = ()
    """(seconds after the start of the shift, length in seconds, reason)."""


@dataclass(frozen=True, slots=True)
class Centre:
    """A whole contact centre."""

    queues: tuple[QueueProfile, ...]
    agents: tuple[AgentProfile, ...]
    hourly: tuple[float, ...]
    """Customers an hour, for each of the 24 hours, over all queues; between the middles of two hours the rate is interpolated linearly."""
    outbound_per_hour: float = 0.0
    """Calls that agents make in the busiest hour; a fifth of them are to colleagues."""
    queue_groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    missed_probability: float = 0.02
    refused_probability: float = 0.008

    def rate_per_ms(self, time_of_day_ms: int) -> float:
        """Arrivals a millisecond at a time of day."""
        position = time_of_day_ms / HOUR_MS - 0.5
        hour = int(position // 1)
        part = position - hour
        return (self.hourly[hour % 24] * (1 - part) + self.hourly[(hour + 1) % 24] * part) / HOUR_MS

    def groups(self) -> dict[str, list[str]]:
        """Agent groups and their members."""
        members: dict[str, list[str]] = {}
        for agent in self.agents:
            for group in agent.groups:
                members.setdefault(group, []).append(agent.id)
        return members


_FIRST = (
    *("ana", "ben", "carla", "david", "elena", "felix", "grace", "hugo", "ines", "jonas", "kaya", "leo", "maria", "nina", "omar", "paula"),
    *("quinn", "rosa", "samir", "tara", "ugo", "vera", "wei", "ximena", "yusuf", "zoe", "amir", "bella", "carlos", "dana", "emil", "fiona"),
)
_LAST = (
    *("lopez", "meyer", "rossi", "smith", "novak", "dubois", "okafor", "tanaka", "silva", "jensen", "kaur", "brown", "moreau", "haddad"),
    *("costa", "ivanov", "nguyen", "garcia", "weber", "ali", "larsen", "conti", "walsh", "sato", "mendes"),
)
_TEAMS = ("Team North", "Team South", "Team East", "Team West")

_QUEUES = (
    QueueProfile(
        "support", share=4, handling_s=210, wrap_s=30, hold_probability=0.18, consult_probability=0.07, overflow_to="general", overflow_s=75
    ),
    QueueProfile("billing", share=3, handling_s=160, wrap_s=25, hold_probability=0.12, consult_probability=0.05),
    QueueProfile("sales", share=2, handling_s=240, wrap_s=35, patience_s=60, hold_probability=0.08, consult_probability=0.03),
    QueueProfile("general", share=1.5, handling_s=120, wrap_s=20, hold_probability=0.1, consult_probability=0.08),
    QueueProfile("chat", media="chat", share=2, handling_s=280, wrap_s=20, wrap_probability=0.6, patience_s=150),
    QueueProfile("email", media="email", share=1, handling_s=330, wrap_s=15, wrap_probability=0.3, patience_s=None),
)
_VOICE = ("support", "billing", "sales", "general")

_BUSINESS_DAY = (0, 0, 0, 0, 0, 0, 0, 0.1, 0.55, 0.9, 1.0, 0.95, 0.75, 0.7, 0.85, 0.9, 0.8, 0.5, 0, 0, 0, 0, 0, 0)
_ROUND_THE_CLOCK = (
    *(0.9, 0.89, 0.88, 0.88, 0.89, 0.91, 0.93, 0.95, 0.98, 1.0, 1.0, 0.98),
    *(0.95, 0.94, 0.97, 1.0, 1.0, 0.98, 0.97, 0.96, 0.95, 0.93, 0.92, 0.91),
)


def demo_centre(agents: int = 40, *, load: float = 0.9) -> Centre:
    """A centre that never closes: shifts start at all times of the day, so that about seven of ten agents are logged in at any time.

    Args:
        agents: The number of agents, 2 or more.
        load: The share of the present agents' time that customers need in the busiest hour.
    """
    shift_s = 17 * 3600
    people = [
        AgentProfile(
            id=_name(n),
            place=f"P{n + 1:03d}",
            dn=str(7001 + n),
            media=_media_of(n),
            queues=_skills_of(n),
            groups=(_TEAMS[n % len(_TEAMS)],),
            shift_start_s=n * 86_400 // agents,
            shift_s=shift_s,
            breaks=tuple((at_s + (n * 7 % 40) * 60, length_s, reason) for at_s, length_s, reason in _LONG_SHIFT_BREAKS),
        )
        for n in range(agents)
    ]
    present = agents * shift_s / 86_400 * 0.9
    # short conversations, so that a demo shows many changes
    brisk = tuple(replace(queue, handling_s=queue.handling_s * 0.6) for queue in _QUEUES)
    return _centre(people, brisk, _ROUND_THE_CLOCK, present=present, load=load)


def office_centre(agents: int = 12, *, load: float = 0.75) -> Centre:
    """A small centre with office hours, three queues, early and late shifts, lunch and breaks. At midnight it has no calls and no agents.

    Args:
        agents: The number of agents, 2 or more.
        load: The share of the agents' time that customers need in the busiest hour.
    """
    queues = (
        _QUEUES[1],
        QueueProfile("support", share=4, handling_s=210, wrap_s=30, hold_probability=0.18, consult_probability=0.07),
        _QUEUES[4],
    )
    people = [
        AgentProfile(
            id=_name(n),
            place=f"P{n + 1:03d}",
            dn=str(7001 + n),
            media=("voice", "chat") if n % 3 == 2 else ("voice",),
            queues=("support", "billing", "chat") if n % 3 == 2 else (("support", "billing"), ("billing", "support"))[n % 2],
            groups=(_TEAMS[n % 2],),
            shift_start_s=int((7.5 if n % 2 else 9.5) * 3600) + (n * 83 % 600),
            shift_s=int(8.5 * 3600),
            breaks=tuple((at_s + (n * 11 % 60) * 60, length_s, reason) for at_s, length_s, reason in _OFFICE_BREAKS),
        )
        for n in range(agents)
    ]
    return _centre(people, queues, _BUSINESS_DAY, present=agents * 0.85, load=load)


_LONG_SHIFT_BREAKS = (
    (2 * 3600, 900, "break"),
    (5 * 3600, 1800, "lunch"),
    (8 * 3600, 900, "break"),
    (11 * 3600, 1800, "meal"),
    (14 * 3600, 900, "break"),
)
_OFFICE_BREAKS = ((5400, 600, "break"), (3 * 3600, 2400, "lunch"), (5 * 3600, 1200, "training"), (6 * 3600, 600, "break"))


def _centre(
    people: Sequence[AgentProfile], queues: tuple[QueueProfile, ...], day: Sequence[float], *, present: float, load: float
) -> Centre:
    """Make a centre with so many customers that they need the share ``load`` of the time of the agents who are present."""
    shares = sum(queue.share for queue in queues)
    seconds_each = sum(queue.share * (queue.handling_s + queue.wrap_s * queue.wrap_probability + 6) for queue in queues) / shares
    busiest = present * load * 3600 / seconds_each
    voice = tuple(queue.name for queue in queues if queue.media == "voice")
    digital = tuple(queue.name for queue in queues if queue.media != "voice")
    return Centre(
        queues=queues,
        agents=tuple(people),
        hourly=tuple(weight * busiest for weight in day),
        outbound_per_hour=present * 0.5,
        queue_groups={"Phone": voice, "Digital": digital},
    )


def _name(number: int) -> str:
    """``ana.lopez``, ``ben.meyer``, ...: 32 first names and 25 last names give 800 names; later agents get a number."""
    name = f"{_FIRST[number % len(_FIRST)]}.{_LAST[number % len(_LAST)]}"
    return name if number < len(_FIRST) * len(_LAST) else f"{name}{number // (len(_FIRST) * len(_LAST)) + 1}"


def _media_of(number: int) -> tuple[str, ...]:
    return (("voice",), ("voice",), ("voice", "chat"), ("voice",), ("chat", "email"), ("voice", "email"))[number % 6]


def _skills_of(number: int) -> tuple[str, ...]:
    media = _media_of(number)
    first = number % len(_VOICE)
    voice = (_VOICE[first], _VOICE[(first + 1) % len(_VOICE)], "general") if "voice" in media else ()
    return tuple(dict.fromkeys((*voice, *(name for name in ("chat", "email") if name in media))))
