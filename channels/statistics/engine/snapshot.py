"""Saving and restoring the engine's state: MessagePack of the structs below.

States of version 1 (release 0.1.0) are read too; ``upgrade`` says what becomes of what they lack.

Saved are what goes on (who does what since when) and the tallies of the daily window. Other windows belong to open statistics, and begin
again when those are opened again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from channels.events import VOICE
from channels.statistics.engine.centre import Centre
from channels.statistics.engine.definition import ACTION, DN_STATUS, STATUS
from channels.statistics.engine.objects import Agent, Group, Interaction, Medium, Member, Party, Queue, Wrap
from channels.statistics.engine.pieces import encode_in_pieces
from channels.statistics.engine.profiles import Calendar
from channels.statistics.engine.statistic import Board
from channels.statistics.engine.tally import Key, Span
from channels.statistics.engine.upgrade import VisitOf1, upgrade_from_1
from channels.statistics.engine.vocabulary import CALL_ON_HOLD, CALL_WAIT, INTERACTION_WAIT, LOGGED_IN, LOGGED_OUT

VERSION = 2
READABLE = (1, VERSION)
"""The versions that can be gone on from. One that is read with another than its own form is converted by ``upgrade``."""


class SnapshotError(ValueError):
    """Bytes that are not a state which this version can go on from."""


class _Totals(msgspec.Struct, array_like=True):
    """One accumulator, for its daily window."""

    key: Key
    since_ms: int
    adjust: int
    recent: list[int]
    counts: dict[int, int]


class _Party(msgspec.Struct, array_like=True):
    interaction: str
    queue: str | None
    action: str
    start_ms: int
    hold_ms: int | None
    customer_ms: int | None = None
    interrupts: bool = False
    giver: str | None = None


class _Medium(msgspec.Struct, array_like=True):
    name: str
    dn: str | None
    login_ms: int | None
    mode: str
    mode_ms: int | None
    reason: str | None
    wrap_queue: str | None
    status: tuple[str, int]
    parties: list[_Party]
    place: str | None = None
    key: str | None = None
    handled_ms: int | None = None
    wrap: tuple[int, int | None, int] | None = None
    """After-call work: when its call ended, since when it goes on, and seconds before that."""


class _Agent(msgspec.Struct, array_like=True):
    id: str
    last_ms: int
    clock_ms: int
    place: str | None
    last_released: tuple[str, str, str | None] | None
    logged_out_ms: int | None
    status: tuple[str, int]
    media: list[_Medium]
    totals: list[_Totals]
    heard_ms: int | None = None


class _Queue(msgspec.Struct, array_like=True):
    id: str
    waiting: dict[str, tuple[str, int]]
    """Interaction, with its media and the millisecond since when it waits."""
    totals: list[_Totals]
    heard_ms: int | None = None


class _Group(msgspec.Struct, array_like=True):
    id: str
    last_ms: int
    members: dict[str, int]
    totals: list[_Totals]
    heard_ms: int | None = None
    guests: list[str] = []
    absent: list[str] = []


class _Interaction(msgspec.Struct, array_like=True):
    id: str
    media: str
    user_data: dict[str, object] | None
    queue: str | None
    visits: dict[str, bool | VisitOf1]
    parties: list[tuple[str, str]]
    """Agent and key of the medium."""
    last_ms: int
    touched_ms: int
    finished: bool
    area: str | None = None
    entered_s: int = 0


class _State(msgspec.Struct, array_like=True):
    version: int
    now_ms: int
    agents: list[_Agent]
    queues: list[_Queue]
    agent_groups: list[_Group]
    queue_groups: list[_Group]
    live: list[_Interaction]
    idle: list[_Interaction]
    areas: list[_Queue] = []


# made at the import: tenants are restored in several threads, and msgspec crashes where two decode a type for the first time at once
_decoder: Final = msgspec.msgpack.Decoder(_State)


def save(centre: Centre) -> bytes:
    """The state of a contact centre. Objects that no event spoke of are left out.

    It may run in a thread while values are read and statistics opened, but not while events are applied or time advances.
    """
    state = _State(
        version=VERSION,
        now_ms=centre.calendar.now_ms,
        agents=[_save_agent(agent) for agent in list(centre.agents.values()) if agent.heard],
        queues=_save_queues(list(centre.queues.values())),
        agent_groups=_save_groups(list(centre.groups.values())),
        queue_groups=_save_groups(list(centre.queue_groups.values())),
        live=[_save_interaction(interaction) for interaction in centre.live.values()],
        idle=[_save_interaction(interaction) for interaction in centre.idle.values()],
        areas=_save_queues(list(centre.areas.values())),
    )
    return encode_in_pieces(state)


def _save_board(board: Board) -> list[_Totals]:
    return [_Totals(a.key, a.since_ms, a.adjust, a.recent.tolist(), a.counts) for a in board.accumulators.values()]


def _save_queues(queues: Iterable[Queue]) -> list[_Queue]:
    return [
        _Queue(queue.id, {i: (span.key[2], span.start_ms) for i, span in queue.waiting.items()}, _save_board(queue.board), queue.heard_ms)
        for queue in queues
        if queue.heard
    ]


def _save_groups(groups: Iterable[Group]) -> list[_Group]:
    return [
        _Group(
            group.id,
            group.last_ms,
            {i: joined_ms for i, (_, joined_ms) in group.members.items()},
            _save_board(group.board),
            group.heard_ms,
            sorted(group.guests),
            sorted(group.absent),
        )
        for group in groups
        if group.heard
    ]


def _save_agent(agent: Agent) -> _Agent:
    return _Agent(
        agent.id,
        agent.last_ms,
        agent.clock_ms,
        agent.place,
        agent.last_released,
        _start(agent.logged_out),
        (agent.status.name, agent.status.start_ms),
        [_save_medium(medium) for medium in agent.media.values()],
        _save_board(agent.board),
        agent.heard_ms,
    )


def _save_medium(medium: Medium) -> _Medium:
    assert medium.status is not None, "a medium without a status is forgotten"
    return _Medium(
        medium.name,
        medium.dn,
        _start(medium.login),
        medium.mode,
        _start(medium.mode_span),
        medium.reason,
        medium.wrap_queue,
        (medium.status.name, medium.status.start_ms),
        [_save_party(party) for party in medium.parties.values()],
        medium.place,
        medium.key,
        medium.handled_ms,
        None if medium.wrap is None else (medium.wrap.ended_ms, medium.wrap.since_ms, medium.wrap.done_s),
    )


def _save_party(party: Party) -> _Party:
    return _Party(
        party.interaction.id,
        party.queue,
        party.span.name,
        party.span.start_ms,
        _start(party.hold),
        party.customer_ms,
        party.interrupts,
        party.giver,
    )


def _save_interaction(interaction: Interaction) -> _Interaction:
    return _Interaction(
        interaction.id,
        interaction.media,
        interaction.user_data,
        interaction.queue,
        dict(interaction.visits),
        [(agent_id, party.medium.key) for agent_id, party in interaction.parties.items()],
        interaction.last_ms,
        interaction.touched_ms,
        interaction.finished,
        interaction.area,
        interaction.entered_s,
    )


def _start(span: Span | None) -> int | None:
    return None if span is None else span.start_ms


def restore(state: bytes, zone: ZoneInfo) -> Centre:
    """The contact centre whose state was saved.

    Raises:
        SnapshotError: the bytes are not a state of a version that can be read.
    """
    try:
        saved = _decoder.decode(state)
    except msgspec.DecodeError as error:
        raise SnapshotError(f"the saved state cannot be read: {error}") from None
    if saved.version not in READABLE:
        raise SnapshotError(f"expected a saved state of version {' or '.join(map(str, READABLE))}; got version {saved.version}")
    centre = Centre(Calendar(zone, saved.now_ms))
    interactions = {each.id: _restore_interaction(each) for each in (*saved.live, *saved.idle)}
    centre.live = {each.id: interactions[each.id] for each in saved.live}
    centre.idle = {each.id: interactions[each.id] for each in saved.idle}
    for each in (*saved.live, *saved.idle):
        if each.user_data and not each.finished:
            centre.keep_user_data(interactions[each.id], each.user_data)
    for agent in saved.agents:
        _restore_agent(centre, agent, interactions)
    for each in saved.live:
        for agent_id, medium in each.parties:
            interactions[each.id].parties[agent_id] = centre.agents[agent_id].media[medium].parties[each.id]
    for each_queue in saved.queues:
        _restore_queue(centre.any_queue(each_queue.id), each_queue, CALL_WAIT)
    for each_area in saved.areas:
        _restore_queue(centre.any_area(each_area.id), each_area, INTERACTION_WAIT)
    for kind, groups, members in (("agents", saved.agent_groups, centre.agents), ("queues", saved.queue_groups, centre.queues)):
        for group in groups:
            restored = centre.any_group(kind, group.id)
            _restore_group(restored, group, members)
            for identifier in group.absent:
                centre.miss(kind, identifier, restored)
    if saved.version == 1:
        stays = {each.id: {q: v for q, v in each.visits.items() if not isinstance(v, bool)} for each in (*saved.live, *saved.idle)}
        upgrade_from_1(centre, stays)
    for member in (*centre.agents.values(), *centre.queues.values(), *centre.areas.values()):
        _make_accumulators(member)
    centre.calls = {identifier: each for identifier, each in centre.live.items() if each.media == VOICE}
    for board in (centre.all_agents.board, centre.all_queues.board, *(area.board for area in centre.areas.values())):
        centre.media.update(media for _, _, media in board.accumulators if media)
    centre.heard_groups = len(centre.groups) + len(centre.queue_groups) - 2  # but for the two of all
    centre.heard = len(centre.agents) + len(centre.queues) + len(centre.areas) + centre.heard_groups
    return centre


def _make_accumulators(member: Member) -> None:
    """Whatever goes on has an accumulator wherever it counts, also where an earlier version did not count it."""
    for span in member.spans():
        member.board.at(span.key)
        for group in member.groups.values():
            group.board.at(span.key)


def _heard_ms(saved: _Agent | _Queue | _Group, calendar: Calendar) -> int:
    """When an object was heard of; a state of before that was noted says that it is now."""
    return calendar.now_ms if saved.heard_ms is None else saved.heard_ms


def _restore_queue(queue: Queue, saved: _Queue, action: str) -> None:
    queue.heard = True
    queue.heard_ms = _heard_ms(saved, queue.calendar)
    queue.waiting = {i: Span((ACTION, action, media), start_ms) for i, (media, start_ms) in saved.waiting.items()}
    _restore_board(queue.board, saved.totals)


def _restore_board(board: Board, totals: list[_Totals]) -> None:
    for each in totals:
        accumulator = board.at(each.key)
        accumulator.since_ms, accumulator.adjust = each.since_ms, each.adjust
        accumulator.load(each.counts, each.recent)


def _restore_group(group: Group, saved: _Group, members: dict[str, Agent] | dict[str, Queue]) -> None:
    group.heard = True
    group.last_ms = saved.last_ms
    group.heard_ms = _heard_ms(saved, group.board.calendar)
    group.guests.update(saved.guests)
    for identifier, joined_ms in saved.members.items():
        member: Member = members[identifier]
        group.members[identifier] = (member, joined_ms)
        member.groups[group.id] = group
        member.fans.clear()
    _restore_board(group.board, saved.totals)


def _restore_interaction(saved: _Interaction) -> Interaction:
    interaction = Interaction(saved.id, saved.media)
    interaction.queue = saved.queue
    interaction.visits = {queue: visit for queue, visit in saved.visits.items() if isinstance(visit, bool)}
    interaction.last_ms, interaction.touched_ms, interaction.finished = saved.last_ms, saved.touched_ms, saved.finished
    interaction.area, interaction.entered_s = saved.area, saved.entered_s
    return interaction


def _restore_agent(centre: Centre, saved: _Agent, interactions: dict[str, Interaction]) -> None:
    agent = Agent(saved.id, centre.calendar, centre.changed, saved.clock_ms)
    centre.agents[saved.id] = agent
    agent.vanish()
    agent.heard = True
    agent.heard_ms = _heard_ms(saved, centre.calendar)
    agent.last_ms, agent.place, agent.last_released = saved.last_ms, saved.place, saved.last_released
    agent.logged_out = None if saved.logged_out_ms is None else Span((ACTION, LOGGED_OUT, ""), saved.logged_out_ms)
    agent.status = Span((STATUS, saved.status[0], ""), saved.status[1])
    for each in saved.media:
        medium = Medium(each.name, each.place, each.key)
        agent.media[medium.key] = medium
        medium.handled_ms, medium.wrap = each.handled_ms, None if each.wrap is None else Wrap(*each.wrap)
        medium.dn, medium.mode, medium.reason, medium.wrap_queue = each.dn, each.mode, each.reason, each.wrap_queue
        medium.login = None if each.login_ms is None else Span((ACTION, LOGGED_IN, each.name), each.login_ms)
        medium.mode_span = None if each.mode_ms is None else Span((ACTION, each.mode, each.name), each.mode_ms)
        medium.status = Span((DN_STATUS, each.status[0], each.name), each.status[1])
        for part in each.parties:
            interaction = interactions[part.interaction]
            party = Party(agent, medium, interaction, part.queue, Span((ACTION, part.action, each.name), part.start_ms))
            party.hold = None if part.hold_ms is None else Span((ACTION, CALL_ON_HOLD, each.name), part.hold_ms)
            party.customer_ms, party.interrupts, party.giver = part.customer_ms, part.interrupts, part.giver
            medium.parties[part.interaction] = party
    _restore_board(agent.board, saved.totals)
