"""Whether there is room for what an event would add: objects, groups, members, interactions, media.

Many events are checked before the first of them is applied. So what admitted events will add is counted as if it were there.
"""

from __future__ import annotations

import itertools
from typing import Any, TypeVar

import msgspec

from channels import events
from channels.events import Event, EventData, RefusedEventError
from channels.statistics.engine.bounds import Bounds
from channels.statistics.engine.centre import Centre, medium_name
from channels.statistics.engine.objects import ALL

FORGET_MS = 10 * 60 * 1000
"""Engine time after which an event that was let pass and did not come is no longer counted: the log could not be written."""

_OBJECTS = "agents, queues, groups and staging areas of a tenant"

_FIELDS = {
    "agent_id": ("agent", "agentId"),
    "from_agent_id": ("agent", "fromAgentId"),
    "to_agent_id": ("agent", "toAgentId"),
    "queue": ("queue", "queue"),
    "to_queue": ("queue", "toQueue"),
}


def _named(shape: type[EventData]) -> tuple[tuple[str, str, str], ...]:
    """(field, kind of object, the field's name on the wire) of what an event of a type names."""
    named = [(field, *_FIELDS[field]) for field in shape.__struct_fields__ if field in _FIELDS]
    if shape is events.InteractionDistributed:
        named = [each for each in named if each[1] == "queue"]  # the event that rings there names the agent
    if shape in (events.InteractionStarted, events.InteractionFinished):
        named.append(("media", "area", "media"))
    return tuple(named)


_TAKING_PART = frozenset(
    {
        events.InteractionRinging,
        events.InteractionDialing,
        events.InteractionEstablished,
        events.InteractionHeld,
        events.InteractionRetrieved,
        events.InteractionTransferred,
    }
)
"""Events after which an agent takes part in an interaction."""

_OPENING = _TAKING_PART | {events.InteractionQueued, events.InteractionDistributed, events.InteractionStarted}
"""Events after which something goes on in an interaction that nobody had heard of. Those that end something are always let pass."""

_REOPENING = frozenset({events.InteractionQueued, events.InteractionStarted})
"""Those of them that begin one anew that is over."""


def media_of(data: Any) -> tuple[str, ...]:
    """The media that an event names, in the form in which they are kept."""
    named: str | tuple[str, ...] | None = getattr(data, "media", None)
    if named is None:
        return ()
    return (medium_name(named),) if isinstance(named, str) else tuple(map(medium_name, named))


_NAMED = {shape: _named(shape) for shape in events.EVENT_TYPES.values()}

K = TypeVar("K")

_Key = tuple[str, str]
"""(kind, id) of an object. Kinds: agent, queue, area; agents and queues are groups of these."""


class _Promise:
    """What one admitted event will add."""

    __slots__ = ("at_ms", "groups", "interaction", "joins", "media", "objects", "part", "user_data_bytes")

    def __init__(self, at_ms: int) -> None:
        self.at_ms = at_ms
        self.objects: dict[_Key, None] = {}
        self.joins: list[tuple[str, str, str]] = []
        """(kind of group, group, member) of each membership that begins."""
        self.groups: dict[_Key, int] = {}
        """Groups that it changes, each with how many members it has afterwards."""
        self.interaction: str | None = None
        """Of the interaction that it opens."""
        self.part: tuple[str, str] | None = None
        """Agent and interaction, if the agent takes part from then on."""
        self.media: tuple[str, ...] = ()
        """Media that no event named before."""
        self.user_data_bytes = 0
        """Of the user data that it brings."""

    def __bool__(self) -> bool:
        """Whether it will add anything."""
        named = self.interaction is not None or self.part is not None
        return bool(named or self.objects or self.joins or self.groups or self.media or self.user_data_bytes)


class Admission:
    """Counts what is there, and what admitted events will add."""

    __slots__ = (
        *("_bounds", "_centre", "_groups", "_interactions", "_joins", "_media", "_members", "_objects", "_parts", "_parts_of_agent"),
        *("_parts_of_interaction", "_promises", "_sizes", "_user_data_bytes"),
    )

    def __init__(self, centre: Centre, bounds: Bounds) -> None:
        self._centre = centre
        self._bounds = bounds
        self._promises: dict[tuple[str, str], _Promise] = {}
        # over all promises
        self._objects: dict[_Key, int] = {}
        self._groups = 0
        """How many of the promised objects are groups."""
        self._joins: dict[_Key, int] = {}
        """How many memberships of an agent or queue (kind of group, id) begin."""
        self._members: dict[tuple[str, str, str], int] = {}
        """How many promises begin each membership."""
        self._sizes: dict[_Key, tuple[int, int]] = {}
        """Of groups: how many promises change it, and how many members it has after the last of them."""
        self._interactions: dict[str, int] = {}
        """How many promises open each interaction."""
        self._parts: dict[tuple[str, str], int] = {}
        """How many promises have an agent take part in an interaction."""
        self._parts_of_agent: dict[str, int] = {}
        self._parts_of_interaction: dict[str, int] = {}
        """How many of these there are of each."""
        self._media: dict[str, int] = {}
        """How many promises name each new medium."""
        self._user_data_bytes = 0

    def check(self, event: Event) -> None:
        """Let an event pass, and count what it will add until :meth:`settle` says that it is applied.

        Raises:
            RefusedEventError: one of :class:`Bounds` would be passed; the text names the field, the bound and what is too much.
        """
        data: Any = event.data
        now_ms = self._centre.calendar.now_ms
        if self._promises:
            self._forget(now_ms - FORGET_MS)
        promise = _Promise(now_ms)
        if isinstance(data, events.InteractionQueued) and data.user_data:
            promise.user_data_bytes = self._check_user_data(data.interaction_id, data.user_data)
        self._want_media(promise, data)
        if type(data) in _OPENING:
            self._want_interaction(promise, data)
            if type(data) in _TAKING_PART:
                self._want_part(promise, data)
        for field, kind, name in _NAMED[type(data)]:
            identifier = getattr(data, field)
            if identifier is not None:
                self._want(promise, kind, medium_name(identifier) if kind == "area" else identifier, name)
        if isinstance(data, events.AgentLogin):
            if data.groups:
                self._want_groups(promise, data.agent_id, data.groups)
        elif isinstance(data, events.GroupChanged) and data.group_id != ALL:
            self._want_members(promise, data)
        if promise:
            self._keep(event, promise)

    def settle(self, event: Event) -> None:
        """An event was applied, or is not going to be."""
        if self._promises and (promise := self._promises.pop((event.source, event.id), None)) is not None:
            self._drop(promise)

    # -- what an event wants ----------------------------------------------------------------------------------------

    def _want(self, promise: _Promise, kind: str, identifier: str, field: str) -> None:
        """An object, unless it is there or promised."""
        key = (kind, identifier)
        if self._centre.is_heard(kind, identifier) or key in promise.objects:
            return
        if key not in self._objects:
            there = self._centre.heard + len(self._objects) + sum(one not in self._objects for one in promise.objects)
            if there >= self._bounds.objects:
                raise RefusedEventError(
                    f"data.{field}: expected at most {self._bounds.objects} {_OBJECTS}; got one more, the {kind} {identifier}"
                )
        promise.objects[key] = None

    def _want_interaction(self, promise: _Promise, data: Any) -> None:
        """An interaction, unless something goes on in it already, or will."""
        identifier: str = data.interaction_id
        live = self._centre.live
        if identifier in live:
            return
        over = self._centre.idle.get(identifier)
        if over is not None and over.finished and type(data) not in _REOPENING:
            return
        if identifier not in self._interactions and len(live) + len(self._interactions) >= self._bounds.interactions:
            raise RefusedEventError(
                f"data.interactionId: expected at most {self._bounds.interactions} interactions of a tenant in which something goes on; "
                f"got one more, {identifier}"
            )
        promise.interaction = identifier

    def _check_user_data(self, interaction_id: str, user_data: dict[str, Any]) -> int:
        """That of ``cx.interaction.queued`` is kept here, in place of what the interaction had before. Returns how many bytes it has."""
        bounds = self._bounds
        if (size := len(msgspec.json.encode(user_data))) > bounds.user_data_bytes:
            raise RefusedEventError(f"data.userData: expected at most {bounds.user_data_bytes} bytes of JSON; got {size}")
        known = self._centre.known(interaction_id)
        there = self._centre.user_data_bytes + self._user_data_bytes - (0 if known is None else known.user_data_bytes)
        if there + size > bounds.all_user_data_bytes:
            raise RefusedEventError(
                f"data.userData: expected at most {bounds.all_user_data_bytes} bytes of JSON in all interactions of a tenant that are not "
                f"over; got {size} more than {there}"
            )
        return size

    def _want_part(self, promise: _Promise, data: Any) -> None:
        """An agent's part in an interaction, unless the agent has it or will."""
        field, agent_id = ("toAgentId", data.to_agent_id) if hasattr(data, "to_agent_id") else ("agentId", data.agent_id)
        interaction = self._centre.known(data.interaction_id)
        if interaction is not None and agent_id in interaction.parties:
            return
        part = (agent_id, data.interaction_id)
        if part not in self._parts:
            there = self._parts_of_interaction.get(data.interaction_id, 0) + (0 if interaction is None else len(interaction.parties))
            if field == "toAgentId" and interaction is not None and data.from_agent_id in interaction.parties:
                there -= 1  # who gives it away
            if there >= self._bounds.interaction_agents:
                raise RefusedEventError(
                    f"data.{field}: expected at most {self._bounds.interaction_agents} agents in one interaction; "
                    f"got one more in {data.interaction_id}, {agent_id}"
                )
            agent = self._centre.agents.get(agent_id)
            there = 0 if agent is None else sum(len(medium.parties) for medium in agent.media.values())
            if there + self._parts_of_agent.get(agent_id, 0) >= self._bounds.agent_interactions:
                raise RefusedEventError(
                    f"data.interactionId: expected at most {self._bounds.agent_interactions} interactions of one agent; "
                    f"got one more of {agent_id}, {data.interaction_id}"
                )
        promise.part = part

    def _want_media(self, promise: _Promise, data: Any) -> None:
        """The media that an event names, unless they are known or promised."""
        named = getattr(data, "media", None)
        if named is None:
            return
        most = self._bounds.media
        if not isinstance(named, str) and len(named) > most:
            raise RefusedEventError(f"data.media: expected at most {most} media of a tenant; got {len(named)}")
        new = [name for name in dict.fromkeys(media_of(data)) if name not in self._centre.media]
        unpromised = [name for name in new if name not in self._media]
        if unpromised and len(self._centre.media) + len(self._media) + len(unpromised) > most:
            raise RefusedEventError(f"data.media: expected at most {most} media of a tenant; got one more, {unpromised[-1]}")
        promise.media = tuple(new)

    def _want_group(self, promise: _Promise, kind: str, identifier: str, field: str) -> None:
        """A group, unless it is there or promised."""
        key = (kind, identifier)
        if not self._centre.is_heard(kind, identifier) and key not in self._objects and key not in promise.objects:
            new = sum(one[0] in ("agents", "queues") and one not in self._objects for one in promise.objects)
            if self._centre.heard_groups + self._groups + new >= self._bounds.groups:
                raise RefusedEventError(
                    f"data.{field}: expected at most {self._bounds.groups} groups of a tenant; got one more, {identifier}"
                )
        self._want(promise, kind, identifier, field)

    def _want_groups(self, promise: _Promise, agent_id: str, group_ids: tuple[str, ...]) -> None:
        """Membership of an agent in the groups that a login names."""
        wanted = [one for one in dict.fromkeys(group_ids) if one != ALL and not self._is_member(one, agent_id)]
        self._check_joins("agents", agent_id, len(wanted), "groups")
        for group_id in wanted:
            self._want_group(promise, "agents", group_id, "groups")
            size = self._size("agents", group_id)
            if size >= self._bounds.members:
                raise RefusedEventError(
                    f"data.groups: expected at most {self._bounds.members} members of a group; got one more of {group_id}"
                )
            promise.joins.append(("agents", group_id, agent_id))
            promise.groups["agents", group_id] = size + 1

    def _is_member(self, group_id: str, agent_id: str) -> bool:
        if ("agents", group_id, agent_id) in self._members:
            return True
        group = self._centre.groups.get(group_id)
        return group is not None and (agent_id in group.members or agent_id in group.absent)

    def _want_members(self, promise: _Promise, data: events.GroupChanged) -> None:
        """The members that a group is to have."""
        wanted = dict.fromkeys(data.members)
        if len(wanted) > self._bounds.members:
            raise RefusedEventError(f"data.members: expected at most {self._bounds.members} members of a group; got {len(wanted)}")
        self._want_group(promise, data.kind, data.group_id, "groupId")
        group = self._centre.groups_of(data.kind).get(data.group_id)
        kind = data.kind.removesuffix("s")
        new = [(kind, one) for one in wanted if group is None or one not in group.members]
        unheard = [key for key in new if not self._centre.is_heard(*key)]
        there = self._centre.heard + len(self._objects) + sum(one not in self._objects for one in promise.objects)
        added = sum(key not in self._objects for key in unheard)
        if there + added > self._bounds.objects:
            raise RefusedEventError(f"data.members: expected at most {self._bounds.objects} {_OBJECTS}; got {added} more than {there}")
        promise.objects.update(dict.fromkeys(unheard))
        for _, member_id in new:
            join = (data.kind, data.group_id, member_id)
            if join not in self._members:
                self._check_joins(data.kind, member_id, 1, "members")
            promise.joins.append(join)
        if new or (group is not None and len(group.members) != len(wanted)):
            promise.groups[data.kind, data.group_id] = len(wanted)

    def _check_joins(self, kind: str, member_id: str, more: int, field: str) -> None:
        members: Any = self._centre.agents if kind == "agents" else self._centre.queues
        member = members.get(member_id)
        there = self._joins.get((kind, member_id), 0) + (0 if member is None else len(member.groups) - (ALL in member.groups))
        if more and there + more > self._bounds.member_groups:
            raise RefusedEventError(
                f"data.{field}: expected at most {self._bounds.member_groups} groups of a member; got {there + more} of {member_id}"
            )

    def _size(self, kind: str, group_id: str) -> int:
        """How many members a group has when all that is promised is done."""
        if (promised := self._sizes.get((kind, group_id))) is not None:
            return promised[1]
        group = self._centre.groups_of(kind).get(group_id)
        return 0 if group is None else len(group.members) + len(group.absent)

    # -- promises ---------------------------------------------------------------------------------------------------

    def _keep(self, event: Event, promise: _Promise) -> None:
        self.settle(event)
        self._promises[event.source, event.id] = promise
        self._user_data_bytes += promise.user_data_bytes
        for key in promise.objects:
            if key not in self._objects:
                self._groups += key[0] in ("agents", "queues")
            self._objects[key] = self._objects.get(key, 0) + 1
        for join in promise.joins:
            self._members[join] = known = self._members.get(join, 0) + 1
            if known == 1:
                key = join[0], join[2]
                self._joins[key] = self._joins.get(key, 0) + 1
        for key, size in promise.groups.items():
            self._sizes[key] = (self._sizes.get(key, (0, 0))[0] + 1, size)
        for name in promise.media:
            self._media[name] = self._media.get(name, 0) + 1
        if promise.interaction is not None:
            self._interactions[promise.interaction] = self._interactions.get(promise.interaction, 0) + 1
        if (part := promise.part) is not None:
            self._parts[part] = known = self._parts.get(part, 0) + 1
            if known == 1:
                self._parts_of_agent[part[0]] = self._parts_of_agent.get(part[0], 0) + 1
                self._parts_of_interaction[part[1]] = self._parts_of_interaction.get(part[1], 0) + 1

    def _forget(self, old_ms: int) -> None:
        """Events that were let pass and have not come since never will."""
        for key in list(itertools.takewhile(lambda key: self._promises[key].at_ms < old_ms, self._promises)):
            self._drop(self._promises.pop(key))

    def _drop(self, promise: _Promise) -> None:
        self._user_data_bytes -= promise.user_data_bytes
        for key in promise.objects:
            self._objects[key] -= 1
            if not self._objects[key]:
                del self._objects[key]
                self._groups -= key[0] in ("agents", "queues")
        for join in promise.joins:
            self._members[join] -= 1
            if not self._members[join]:
                del self._members[join]
                key = join[0], join[2]
                self._joins[key] -= 1
                if not self._joins[key]:
                    del self._joins[key]
        for key in promise.groups:
            users, size = self._sizes.pop(key)
            if users > 1:
                self._sizes[key] = (users - 1, size)
        for name in promise.media:
            _less(self._media, name, none_left=name in self._centre.media)
        if promise.interaction is not None:
            _less(self._interactions, promise.interaction, none_left=promise.interaction in self._centre.live)
        if (part := promise.part) is not None and part in self._parts:
            interaction = self._centre.known(part[1])
            _less(self._parts, part, none_left=interaction is not None and part[0] in interaction.parties)
            if part not in self._parts:
                _less(self._parts_of_agent, part[0])
                _less(self._parts_of_interaction, part[1])


def _less(promised: dict[K, int], name: K, *, none_left: bool = False) -> None:
    """One promise of a thing less; it is not counted among the promised ones as soon as it is there."""
    left = promised.get(name, 0) - 1
    if left > 0 and not none_left:
        promised[name] = left
    else:
        promised.pop(name, None)
