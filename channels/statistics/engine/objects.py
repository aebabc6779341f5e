"""What the engine knows of a contact centre: agents with their media, queues, groups, interactions.

Data and bookkeeping; what events mean is in ``machine``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

from channels.statistics.engine.accumulator import Accumulator
from channels.statistics.engine.definition import ACTION, DN_STATUS, STATUS
from channels.statistics.engine.profiles import Calendar
from channels.statistics.engine.statistic import Board, Statistic
from channels.statistics.engine.tally import FOLD_AT, LOOK_AT_ONCE, Key, Span
from channels.statistics.engine.vocabulary import (
    CALL_ACTIONS,
    CALL_ON_HOLD,
    CALL_RINGING,
    LOGGED_OUT,
    STATUS_CODES,
    STATUS_NAMES,
    WAIT_FOR_NEXT_CALL,
)

ALL = "All"
"""Id of the two groups that are always there: every agent, every queue."""

_NOT_READY_CODE = STATUS_CODES["NotReadyForNextCall"]
_VOICE = "voice"

LONG_AGO_MS = -(2**62)
"""Before every time that an event can have."""

Fan = tuple[tuple[Accumulator[Statistic], int], ...]
"""The accumulators that one thing counts in, the member's own first, each with the millisecond since when the member belongs there."""


class Member(ABC):
    """An agent, a queue or a staging area: counts on its own board and on those of its groups."""

    __slots__ = ("board", "calendar", "fans", "groups", "heard", "heard_ms", "id")

    def __init__(self, identifier: str, calendar: Calendar, changed: dict[Statistic, None]) -> None:
        self.id = identifier
        self.calendar = calendar
        self.board = Board(calendar, changed, self)
        self.heard = False
        """Whether an event named it. If not, it is forgotten once no statistic is open on it."""
        self.heard_ms = LONG_AGO_MS
        """Time of the newest event that named it."""
        self.groups: dict[str, Group] = {}
        self.fans: dict[Key, Fan] = {}

    @abstractmethod
    def spans(self) -> Iterator[Span]:
        """Everything that goes on."""

    def going_on(self) -> Iterator[list[tuple[Span, int]]]:
        """See :meth:`channels.statistics.engine.tally.Source.going_on`."""
        return ([(span, span.start_ms) for span in spans] for spans in self.spans_in_pieces())

    def spans_in_pieces(self) -> Iterator[Iterable[Span]]:
        """Everything that goes on, in pieces; what a piece holds goes on when it is handed out."""
        yield self.spans()

    def fan(self, key: Key) -> Fan:
        """The accumulators in which a key counts."""
        fan = self.fans.get(key)
        if fan is None:
            groups = ((group.board.at(key), group.members[self.id][1]) for group in self.groups.values())
            fan = self.fans[key] = ((self.board.at(key), LONG_AGO_MS), *groups)
        return fan

    def begin(self, key: Key, at_ms: int) -> Span:
        """Begin a span, on the own board and those of all groups."""
        span = Span(key, at_ms)
        for accumulator, joined_ms in self.fans.get(key) or self.fan(key):
            if accumulator.hooked:
                accumulator.began(span, at_ms if at_ms > joined_ms else joined_ms)
        return span

    def end(self, span: Span, at_ms: int) -> int:
        """End a span. Returns how long it lasted, in seconds.

        Nearly all spans began in the window of the day and after the member joined the group, and lasted some time. Of these only the
        duration is kept.
        """
        key = span.key
        start_ms = span.start_ms
        fan = self.fans.get(key) or self.fan(key)
        if start_ms == at_ms and not fan[0][0].keeps_zero:  # it counts nowhere, but the watchers were told that it began
            for accumulator, _ in fan:
                if accumulator.hooked:
                    accumulator.tell_end(span, start_ms, at_ms, counts=False)
            return 0
        day_ms = self.calendar.daily.reset_ms
        duration = at_ms // 1000 - span.start_s
        plain = day_ms <= start_ms < at_ms
        for accumulator, joined_ms in fan:
            if plain and accumulator.since_ms == day_ms and start_ms >= joined_ms:
                recent = accumulator.recent
                recent.append(duration)
                if len(recent) >= FOLD_AT:
                    accumulator.fold()
                if accumulator.hooked:
                    accumulator.tell_end(span, start_ms, at_ms, counts=True)
            else:
                accumulator.ended(span, start_ms if start_ms > joined_ms else joined_ms, at_ms, completed=True)
        return duration

    def occur(self, name: str, media: str, at_ms: int, duration: int = 0) -> None:
        """Count an instantaneous action; ``duration`` in seconds."""
        key = (ACTION, name, media)
        day_ms = self.calendar.daily.reset_ms
        for accumulator, joined_ms in self.fans.get(key) or self.fan(key):
            if at_ms >= joined_ms:
                if accumulator.since_ms == day_ms <= at_ms:
                    recent = accumulator.recent
                    recent.append(duration)
                    if len(recent) >= FOLD_AT:
                        accumulator.fold()
                    if accumulator.hooked:
                        accumulator.tell_occurrence(at_ms, duration)
                else:
                    accumulator.occurred(at_ms, duration)

    def complete(self, name: str, media: str, from_ms: int, at_ms: int) -> None:
        """Count an instantaneous action for something that lasted since ``from_ms``. Each window counts what lies in it."""
        key = (ACTION, name, media)
        day_ms = self.calendar.daily.reset_ms
        for accumulator, joined_ms in self.fans.get(key) or self.fan(key):
            if at_ms < joined_ms:
                continue
            if accumulator.since_ms == day_ms <= from_ms and not accumulator.hooked:
                accumulator.add(at_ms // 1000 - from_ms // 1000)
            else:
                accumulator.completed(from_ms, at_ms)

    def follow(self, name: str, media: str, of_ms: int, at_ms: int, duration: int) -> None:
        """Count an instantaneous action that belongs to what ended at ``of_ms``, in the windows and groups in which that counts."""
        key = (ACTION, name, media)
        for accumulator, joined_ms in self.fans.get(key) or self.fan(key):
            if of_ms >= joined_ms:
                accumulator.followed(of_ms, at_ms, duration)


class Group:
    """A group of agents or of queues. It counts what its members do from joining to leaving; what it counted stays when they leave."""

    __slots__ = ("absent", "board", "guests", "heard", "heard_ms", "id", "last_ms", "members")

    def __init__(self, identifier: str, calendar: Calendar, changed: dict[Statistic, None]) -> None:
        self.id = identifier
        self.board = Board(calendar, changed, self)
        self.heard = False
        self.heard_ms = LONG_AGO_MS
        """Time of the newest event that named it."""
        self.last_ms = LONG_AGO_MS
        """Time of the last ``cx.group.changed``."""
        self.members: dict[str, tuple[Member, int]] = {}
        """By id, each with the millisecond at which it joined."""
        self.guests: set[str] = set()
        """Members by a login that named the group, and not by ``cx.group.changed``."""
        self.absent: set[str] = set()
        """Ids that ``cx.group.changed`` listed and that were forgotten since: they are members again when they are heard of."""

    def going_on(self) -> Iterator[list[tuple[Span, int]]]:
        """What goes on at the members, each with the millisecond since when it counts: its start, or when the member joined. See
        :meth:`channels.statistics.engine.tally.Source.going_on`.
        """
        for identifier in list(self.members):
            if (listed := self.members.get(identifier)) is None:
                continue
            for spans in listed[0].spans_in_pieces():
                if (entry := self.members.get(identifier)) is None:  # it left between two pieces
                    break
                joined_ms = entry[1]
                yield [(span, span.start_ms if span.start_ms > joined_ms else joined_ms) for span in spans]

    def join(self, member: Member, at_ms: int) -> None:
        """A member joins: what it is doing counts from now on, and is as old as it is."""
        for span in member.spans():
            self.board.at(span.key).began(span, max(span.start_ms, at_ms))
        self.members[member.id] = (member, at_ms)
        member.groups[self.id] = self
        member.fans.clear()
        self.board.touch()

    def leave(self, member: Member, at_ms: int) -> None:
        """A member leaves: what it is doing counts no longer."""
        joined_ms = self.members.pop(member.id)[1]
        del member.groups[self.id]
        member.fans.clear()
        for span in member.spans():
            self.board.at(span.key).ended(span, max(span.start_ms, joined_ms), at_ms, completed=False)
        self.board.touch()


class Party:
    """An agent's part in an interaction: it rings, the agent dials, or they talk."""

    __slots__ = ("agent", "customer_ms", "giver", "hold", "interaction", "interrupts", "medium", "queue", "span")

    def __init__(self, agent: Agent, medium: Medium, interaction: Interaction, queue: str | None, span: Span) -> None:
        self.agent = agent
        self.medium = medium
        self.interaction = interaction
        self.queue = queue
        """The queue that it came from."""
        self.span = span
        """CallRinging, CallDialing or one of the Call actions."""
        self.hold: Span | None = None
        self.customer_ms: int | None = None
        """Since when it is established as a customer's call; None while it is not."""
        self.interrupts = False
        """Whether it was established during after-call work, which waits for its end."""
        self.giver: str | None = None
        """Who transferred it here."""

    @property
    def talking(self) -> bool:
        """Whether the call is established, on hold or not."""
        return self.span.key[1] in CALL_ACTIONS


class Wrap:
    """The after-call work that follows a customer's call, while it goes on."""

    __slots__ = ("done_s", "ended_ms", "since_ms")

    def __init__(self, ended_ms: int, since_ms: int | None, done_s: int = 0) -> None:
        self.ended_ms = ended_ms
        """When the call ended."""
        self.since_ms = since_ms
        """Since when the work goes on without interruption; None while a call interrupts it."""
        self.done_s = done_s
        """Seconds of the work before that."""

    def pause(self, at_ms: int) -> None:
        """A call interrupts the work."""
        if self.since_ms is not None:
            self.done_s += at_ms // 1000 - self.since_ms // 1000
            self.since_ms = None


class Medium:
    """An agent on one medium at one place: what Stat Server calls a DN."""

    __slots__ = (
        "dn",
        "handled_ms",
        "key",
        "login",
        "mode",
        "mode_span",
        "name",
        "parties",
        "place",
        "reason",
        "status",
        "wrap",
        "wrap_queue",
    )

    def __init__(self, name: str, place: str | None, key: str | None = None) -> None:
        self.name = name
        self.key = key or name
        """Under which the agent has it: the name, for all but a second login on the medium at another place."""
        self.place = place
        self.dn: str | None = None
        self.login: Span | None = None
        """LoggedIn, while it is."""
        self.mode = WAIT_FOR_NEXT_CALL
        """What the agent is when no interaction goes on: WaitForNextCall, NotReadyForNextCall or AfterCallWork."""
        self.mode_span: Span | None = None
        """The action of the mode, while it goes on. WaitForNextCall is suspended while something rings or is established."""
        self.reason: str | None = None
        """Why the agent is not ready."""
        self.wrap_queue: str | None = None
        """The queue that the interaction came from which after-call work is for."""
        self.handled_ms: int | None = None
        """When a customer's call ended here last; None before the first, and when a call within the house ended since."""
        self.wrap: Wrap | None = None
        """The after-call work of that call, while the agent does it."""
        self.parties: dict[str, Party] = {}
        self.status: Span | None = None

    def busy(self) -> bool:
        """Whether something rings or is established."""
        return any(party.span.key[1] == CALL_RINGING or party.talking for party in self.parties.values())

    def status_code(self) -> int | None:
        """The highest of what goes on; the Call action of a call on hold is hidden. None when the agent is not on this medium."""
        code = -1 if self.login is None else STATUS_CODES["LoggedIn"]
        if self.mode_span is not None:
            code = STATUS_CODES[self.mode_span.key[1]]
        for party in self.parties.values():
            code = max(code, STATUS_CODES[party.span.key[1] if party.hold is None else CALL_ON_HOLD])
        return None if code < 0 else code

    def spans(self) -> Iterator[Span]:
        """The actions that go on."""
        for span in (self.login, self.mode_span):
            if span is not None:
                yield span
        for party in self.parties.values():
            yield party.span
            if party.hold is not None:
                yield party.hold


def highest(found: Iterable[Medium], media: frozenset[str] | None = None) -> tuple[int, Medium | None]:
    """The status of an agent: its code and the medium that it comes from, of those in ``found``, of all media or of some.

    Stat Server's rule (PlaceAgentStatus): voice if it is above NotReadyForNextCall; else the other media if they are; else the other
    media if there is no voice login; else voice. Without a login: LoggedOut, the highest status that there is.
    """
    best: dict[bool, tuple[int, Medium]] = {}
    for medium in found:
        if medium.login is None or (media is not None and medium.name not in media):
            continue
        code = medium.status_code()
        is_voice = medium.name == _VOICE
        if code is not None and (is_voice not in best or code > best[is_voice][0]):
            best[is_voice] = (code, medium)
    voice, other = best.get(True), best.get(False)
    if voice is None:
        return other or (STATUS_CODES["LoggedOut"], None)
    if other is None or voice[0] > _NOT_READY_CODE or other[0] <= _NOT_READY_CODE:
        return voice
    return other


class Agent(Member):
    """An agent. One that no event named is logged out."""

    __slots__ = ("clock_ms", "last_ms", "last_released", "logged_out", "media", "place", "states", "status")

    def __init__(self, identifier: str, calendar: Calendar, changed: dict[Statistic, None], at_ms: int) -> None:
        super().__init__(identifier, calendar, changed)
        self.last_ms = LONG_AGO_MS
        """Time of the last event about this agent."""
        self.clock_ms = at_ms
        """Time up to which this agent's history is complete. Nothing is dated before it any more."""
        self.place: str | None = None
        """Where the agent logged in last."""
        self.media: dict[str, Medium] = {}
        """By :attr:`Medium.key`; of two on one medium the later login comes later."""
        self.last_released: tuple[str, str, str | None] | None = None
        """(interaction, medium, queue) of the call that ended last: what after-call work is for."""
        self.logged_out: Span | None = self.begin((ACTION, "LoggedOut", ""), at_ms)
        self.status: Span = self.begin((STATUS, "LoggedOut", ""), at_ms)
        self.states: dict[frozenset[str] | None, dict[str, object]] = {}
        """The state as subscribers see it, on all media or on some, until something changes."""

    def at(self, at_ms: int) -> int:
        """The moment at which something happens to the agent: ``at_ms``, or the end of the agent's history so far if that is later."""
        if at_ms < self.clock_ms:
            return self.clock_ms
        self.clock_ms = at_ms
        return at_ms

    def hear(self, at_ms: int) -> None:
        """The first event about the agent: history begins with it, even if somebody asked before, so that asking changes no total."""
        self.vanish()
        self.heard = True
        self.clock_ms = at_ms
        self.logged_out = self.begin((ACTION, "LoggedOut", ""), at_ms)
        self.status = self.begin((STATUS, "LoggedOut", ""), at_ms)

    def vanish(self) -> None:
        """Take back the history of an agent that no event named, so that no total contains it."""
        assert self.logged_out is not None, "an agent that no event named is logged out"
        self.end(self.logged_out, self.logged_out.start_ms)
        self.end(self.status, self.status.start_ms)

    def spans(self) -> Iterator[Span]:
        """The status, the statuses by medium, and all actions that go on."""
        yield self.status
        if self.logged_out is not None:
            yield self.logged_out
        for medium in self.media.values():
            if medium.status is not None:
                yield medium.status
            yield from medium.spans()

    def settle(self, medium: Medium, at_ms: int) -> None:
        """Begin and end what follows from a change on a medium: the action of its mode, its status, and the agent's status."""
        wanted: str | None = medium.mode
        if medium.login is None or (wanted == WAIT_FOR_NEXT_CALL and medium.busy()):
            wanted = None
        span = medium.mode_span
        if (None if span is None else span.key[1]) != wanted:
            if span is not None:
                self.end(span, at_ms)
            medium.mode_span = None if wanted is None else self.begin((ACTION, wanted, medium.name), at_ms)
        code = medium.status_code()
        name = None if code is None else STATUS_NAMES[code]
        status = medium.status
        if (None if status is None else status.key[1]) != name:
            if status is not None:
                self.end(status, at_ms)
            medium.status = None if name is None else self.begin((DN_STATUS, name, medium.name), at_ms)
        self.settle_status(at_ms)

    def settle_status(self, at_ms: int) -> None:
        """Derive the agent's own status from those of the media."""
        if len(self.media) == 1:  # as nearly always: no need to compare
            (medium,) = self.media.values()
            name = LOGGED_OUT if medium.login is None or medium.status is None else medium.status.key[1]
        else:
            name = STATUS_NAMES[highest(self.media.values())[0]]
        if self.status.key[1] != name:
            self.end(self.status, at_ms)
            self.status = self.begin((STATUS, name, ""), at_ms)
        self.touch()

    def touch(self) -> None:
        """Mark the state of the agent and of each of its groups as changed."""
        if self.states:
            self.states = {}
        if self.board.state_statistics:
            self.board.touch()
        for group in self.groups.values():
            if group.board.state_statistics:
                group.board.touch()


class Queue(Member):
    """A queue or route point, or a staging area: where interactions wait."""

    __slots__ = ("waiting",)

    def __init__(self, identifier: str, calendar: Calendar, changed: dict[Statistic, None]) -> None:
        super().__init__(identifier, calendar, changed)
        self.waiting: dict[str, Span] = {}
        """CallWait (in a staging area: InteractionWait) of each interaction that waits here, by its id; what rings still waits."""

    def spans(self) -> Iterator[Span]:
        """What waits."""
        return iter(self.waiting.values())

    def spans_in_pieces(self) -> Iterator[Iterable[Span]]:
        """See :meth:`Member.spans_in_pieces`: thousands may wait."""
        waiting = list(self.waiting)
        for start in range(0, len(waiting), LOOK_AT_ONCE):
            spans = (self.waiting.get(identifier) for identifier in waiting[start : start + LOOK_AT_ONCE])
            yield [span for span in spans if span is not None]


class Interaction:
    """A call, a chat or a message: where it waits, and who takes part."""

    __slots__ = (
        *("area", "entered_s", "finished", "id", "last_ms", "media", "parties", "queue", "touched_ms", "user_data", "user_data_bytes"),
        "visits",
    )

    def __init__(self, identifier: str, media: str) -> None:
        self.id = identifier
        self.media = media
        self.user_data: dict[str, object] | None = None
        self.user_data_bytes = 0
        """Of its JSON."""
        self.area: str | None = None
        """The staging area that it entered when it started; None before that."""
        self.entered_s = 0
        """When it entered there."""
        self.queue: str | None = None
        """The queue that it entered last."""
        self.visits: dict[str, bool] = {}
        """The queues that it entered, each with whether it was distributed there since it entered last."""
        self.parties: dict[str, Party] = {}
        self.last_ms = LONG_AGO_MS
        """Time of the last event about the interaction as such, its waiting and its end; an agent's part has the agent's order."""
        self.touched_ms = 0
        """Engine time at which an event named it last."""
        self.finished = False
