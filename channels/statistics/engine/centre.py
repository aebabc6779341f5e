"""The contact centre of one tenant as the engine knows it: its agents, queues, groups and interactions, found, made and forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from channels.events import VOICE
from channels.statistics.engine.bounds import DEFAULT_BOUNDS
from channels.statistics.engine.definition import ObjectType
from channels.statistics.engine.objects import ALL, Agent, Group, Interaction, Queue
from channels.statistics.engine.profiles import Calendar
from channels.statistics.engine.statistic import Statistic


class Centre:
    """All objects and interactions of one contact centre."""

    __slots__ = (
        "_absent",
        "agents",
        "all_agents",
        "all_queues",
        "areas",
        "calendar",
        "calls",
        "changed",
        "groups",
        "heard",
        "heard_groups",
        "idle",
        "live",
        "media",
        "most_idle",
        "queue_groups",
        "queues",
        "user_data_bytes",
    )

    def __init__(self, calendar: Calendar) -> None:
        self.calendar = calendar
        self.changed: dict[Statistic, None] = {}
        """Open statistics that were touched, in order, each once."""
        self.agents: dict[str, Agent] = {}
        self.queues: dict[str, Queue] = {}
        self.areas: dict[str, Queue] = {}
        """Staging areas, by their medium."""
        self.heard = 0
        """How many objects events named, the two groups ``All`` not counted."""
        self.heard_groups = 0
        """How many of them are groups."""
        self._absent: dict[tuple[str, str], set[str]] = {}
        """Ids of groups that have the agent or queue (kind of group, id) on their list while it is forgotten."""
        self.all_agents = self._new_group(ALL)
        self.all_queues = self._new_group(ALL)
        self.all_agents.heard = self.all_queues.heard = True
        self.groups: dict[str, Group] = {ALL: self.all_agents}
        self.queue_groups: dict[str, Group] = {ALL: self.all_queues}
        self.live: dict[str, Interaction] = {}
        """Interactions that started and did not finish, that wait, or that have parties, the one heard of least recently first."""
        self.calls: dict[str, Interaction] = {}
        """Those of them that are on voice, in the same order."""
        self.idle: dict[str, Interaction] = {}
        """The others, in the order in which they were heard of."""
        self.most_idle = DEFAULT_BOUNDS.interactions
        """How many of these there may be: beyond, the one heard of least recently is forgotten."""
        self.user_data_bytes = 0
        """Of the JSON of what :meth:`keep_user_data` keeps."""
        self.media: set[str] = {VOICE}
        """Media that were named by events."""

    def _new_group(self, identifier: str) -> Group:
        return Group(identifier, self.calendar, self.changed)

    def any_agent(self, identifier: str) -> Agent:
        """The agent of an id. If no event named it, it is made, so that a statistic can be opened on it."""
        agent = self.agents.get(identifier)
        if agent is None:
            agent = self.agents[identifier] = Agent(identifier, self.calendar, self.changed, self.calendar.now_ms)
        return agent

    def any_queue(self, identifier: str) -> Queue:
        """The queue of an id. If no event named it, it is made, so that a statistic can be opened on it."""
        queue = self.queues.get(identifier)
        if queue is None:
            queue = self.queues[identifier] = Queue(identifier, self.calendar, self.changed)
        return queue

    def any_area(self, media: str) -> Queue:
        """The staging area of a medium. If no event named it, it is made, so that a statistic can be opened on it."""
        media = medium_name(media)
        area = self.areas.get(media)
        if area is None:
            area = self.areas[media] = Queue(media, self.calendar, self.changed)
        return area

    def any_group(self, kind: str, identifier: str) -> Group:
        """The group of a kind (``agents``, ``queues``) and id, made if no event named it, so that a statistic can be opened on it."""
        groups = self.groups_of(kind)
        group = groups.get(identifier)
        if group is None:
            group = groups[identifier] = self._new_group(identifier)
        return group

    def of(self, object_type: ObjectType) -> Mapping[str, Agent | Queue | Group]:
        """The objects of a type, by id."""
        if object_type is ObjectType.AGENT:
            return self.agents
        if object_type is ObjectType.GROUP_AGENTS:
            return self.groups
        if object_type is ObjectType.STAGING_AREA:
            return self.areas
        return self.queue_groups if object_type is ObjectType.GROUP_QUEUES else self.queues

    def drop_unheard(self, object_type: ObjectType, identifier: str) -> None:
        """Forget an object that no event named, once no statistic is open on it."""
        if object_type is ObjectType.STAGING_AREA:
            identifier = medium_name(identifier)
        found = self.of(object_type).get(identifier)
        if found is None or found.heard or found.board.statistics or found.board.state_statistics:
            return
        for objects in (self.agents, self.queues, self.areas, self.groups, self.queue_groups):
            if objects.get(identifier) is found:
                del objects[identifier]

    def groups_of(self, kind: str) -> dict[str, Group]:
        """The groups of a kind, by id."""
        return self.groups if kind == "agents" else self.queue_groups

    def agent(self, identifier: str, at_ms: int) -> Agent:
        """The agent that an event names."""
        agent = self.agents.get(identifier)
        if agent is None:
            agent = self.agents[identifier] = Agent(identifier, self.calendar, self.changed, at_ms)
        if not agent.heard:
            agent.hear(at_ms)
            self.heard += 1
            self.all_agents.join(agent, at_ms)
            self._rejoin("agents", agent, at_ms)
        if agent.heard_ms < at_ms:
            agent.heard_ms = at_ms
        return agent

    def queue(self, identifier: str, at_ms: int) -> Queue:
        """The queue that an event names."""
        queue = self.any_queue(identifier)
        if not queue.heard:
            queue.heard = True
            self.heard += 1
            self.all_queues.join(queue, at_ms)
            self._rejoin("queues", queue, at_ms)
        if queue.heard_ms < at_ms:
            queue.heard_ms = at_ms
        return queue

    def area(self, media: str, at_ms: int) -> Queue:
        """The staging area of the medium that an event names."""
        area = self.any_area(media)
        if not area.heard:
            area.heard = True
            self.heard += 1
        area.heard_ms = max(area.heard_ms, at_ms)
        return area

    def group(self, kind: str, identifier: str, at_ms: int) -> Group:
        """The group that an event names."""
        group = self.any_group(kind, identifier)
        if not group.heard:
            group.heard = True
            self.heard += 1
            self.heard_groups += 1
        group.heard_ms = max(group.heard_ms, at_ms)
        return group

    def is_heard(self, kind: str, identifier: str) -> bool:
        """Whether events named an object; kinds are agent, queue, area, and agents and queues for groups of these."""
        objects: Mapping[str, Agent | Queue | Group]
        match kind:
            case "agent":
                objects = self.agents
            case "queue":
                objects = self.queues
            case "area":
                objects = self.areas
            case _:
                objects = self.groups_of(kind)
        found = objects.get(identifier)
        return found is not None and found.heard

    # -- who is forgotten ---------------------------------------------------------------------------------------------

    def forget_agent(self, agent: Agent) -> bool:
        """Forget an agent on whom nothing is open."""
        self._leave_groups("agents", agent)
        del self.agents[agent.id]
        self.heard -= 1
        return True

    def forget_queue(self, queue: Queue) -> bool:
        """Forget a queue, or a staging area, in which nothing is open."""
        if self.areas.get(queue.id) is queue:
            del self.areas[queue.id]
        else:
            self._leave_groups("queues", queue)
            del self.queues[queue.id]
        self.heard -= 1
        return True

    def forget_group(self, kind: str, group: Group) -> bool:
        """Forget a group without members."""
        for identifier in group.absent:
            self._no_longer_absent(kind, identifier, group)
        del self.groups_of(kind)[group.id]
        self.heard -= 1
        self.heard_groups -= 1
        return True

    def list_members(self, kind: str, group: Group, members: Iterable[str]) -> None:
        """``cx.group.changed`` said who belongs to a group: nobody else is on its list, and nobody of them a guest."""
        for identifier in group.absent.difference(members):
            self._no_longer_absent(kind, identifier, group)
        group.absent.intersection_update(members)
        group.guests.clear()

    def miss(self, kind: str, identifier: str, group: Group) -> None:
        """Note that a group lists an agent or queue that was forgotten."""
        group.absent.add(identifier)
        self._absent.setdefault((kind, identifier), set()).add(group.id)

    def _leave_groups(self, kind: str, member: Agent | Queue) -> None:
        for group in list(member.groups.values()):
            if group.id != ALL and member.id not in group.guests:
                self.miss(kind, member.id, group)
            group.guests.discard(member.id)
            group.leave(member, self.calendar.now_ms)

    def _rejoin(self, kind: str, member: Agent | Queue, at_ms: int) -> None:
        """Join the groups that list a member which had been forgotten."""
        for group_id in self._absent.pop((kind, member.id), ()):
            group = self.groups_of(kind)[group_id]
            group.absent.discard(member.id)
            group.join(member, at_ms)

    def _no_longer_absent(self, kind: str, identifier: str, group: Group) -> None:
        groups = self._absent[kind, identifier]
        groups.discard(group.id)
        if not groups:
            del self._absent[kind, identifier]

    def known(self, identifier: str) -> Interaction | None:
        """The interaction of an id, over or not."""
        return self.live.get(identifier) or self.idle.get(identifier)

    def interaction(self, identifier: str, media: str | None) -> Interaction | None:
        """The interaction that an event names; None if it is over."""
        interaction = self.known(identifier)
        if interaction is None:
            interaction = Interaction(identifier, medium_name(media))
            self._keep_idle(interaction)
        return None if interaction.finished else interaction

    def _keep_idle(self, interaction: Interaction) -> None:
        self.idle[interaction.id] = interaction
        if len(self.idle) > self.most_idle:
            self.forget_idle(next(iter(self.idle)))

    def forget_idle(self, identifier: str) -> None:
        """Forget an interaction in which nothing goes on."""
        self.drop_user_data(self.idle.pop(identifier))

    def keep_user_data(self, interaction: Interaction, user_data: dict[str, object]) -> None:
        """Keep what a producer said of an interaction, in place of what it said before."""
        self.drop_user_data(interaction)
        interaction.user_data = user_data
        interaction.user_data_bytes = len(msgspec.json.encode(user_data))
        self.user_data_bytes += interaction.user_data_bytes

    def drop_user_data(self, interaction: Interaction) -> None:
        """Keep it no longer: the interaction is over, or is forgotten."""
        self.user_data_bytes -= interaction.user_data_bytes
        interaction.user_data, interaction.user_data_bytes = None, 0

    def file(self, interaction: Interaction) -> None:
        """Move an interaction to the end of the list it belongs to, after an event named it."""
        identifier = interaction.id
        queue = None if interaction.queue is None else self.queues.get(interaction.queue)
        waits = queue is not None and identifier in queue.waiting
        lives = interaction.area is not None and not interaction.finished
        self.live.pop(identifier, None)
        self.calls.pop(identifier, None)
        self.idle.pop(identifier, None)
        interaction.touched_ms = self.calendar.now_ms
        if not (waits or lives or interaction.parties):
            self._keep_idle(interaction)
            return
        self.live[identifier] = interaction
        if interaction.media == VOICE:
            self.calls[identifier] = interaction


def medium_name(media: str | None) -> str:
    """The name under which a medium is kept: media differ without regard to case. It is voice if none is given."""
    return VOICE if media is None else media.lower()
