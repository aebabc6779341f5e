"""CurrentState: what goes on at an agent or in a group, as a tree in the shape of Stat Server's AgentStatus."""

from __future__ import annotations

from collections.abc import Generator

from channels.statistics.engine.objects import Agent, Group, Medium, highest
from channels.statistics.engine.pieces import sort_in_pieces
from channels.statistics.engine.tally import Span
from channels.statistics.engine.values import Value
from channels.statistics.engine.vocabulary import NOT_READY, STATUS_CODES, STATUS_NAMES

AGENTS = "agents"
"""Member of a group's state that holds those of its agents."""

_TREES_AT_ONCE = 32
"""Agents whose trees are made in one piece: 0.5 ms or so."""

_STATES_KEPT = 8
"""Trees of one agent that are kept: of all media, and of some choices of media."""


class UserDataLimit:
    """How much user data the state of an agent or of a group shows: an interaction's is repeated for each agent who takes part in it."""

    __slots__ = ("cut", "max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        """Of its JSON, in one value."""
        self.cut = 0
        """Values that lacked some of it."""


def agent_value(agent: Agent, media: frozenset[str] | None, limit: UserDataLimit) -> Value:
    """The state of an agent, on all media or on some: status code, its name, and the tree."""
    if _user_data_bytes(agent, media) <= limit.max_bytes:
        tree = agent_tree(agent, media)
    else:
        limit.cut += 1
        tree = _tree(agent, media, bare=True)
    code = tree["status"]
    assert isinstance(code, int)
    return Value(code, STATUS_NAMES[code], state_value=tree)


def group_value(group: Group, media: frozenset[str] | None, limit: UserDataLimit) -> Generator[None, None, Value]:
    """The states of the agents of a group, by id: how many there are, and their trees. In pieces: a group may have thousands of members.
    What changes between two pieces is among the changed statistics afterwards.
    """
    identifiers = yield from sort_in_pieces(list(group.members))
    trees = []
    left, is_cut = limit.max_bytes, False
    for number, identifier in enumerate(identifiers, 1):
        entry = group.members.get(identifier)
        if entry is not None:
            agent = entry[0]
            assert isinstance(agent, Agent), "a group whose state is asked for is one of agents"
            size = _user_data_bytes(agent, media)
            if size <= left:
                left -= size
                trees.append(agent_tree(agent, media))
            else:
                is_cut = True
                trees.append(_tree(agent, media, bare=True))
        if number % _TREES_AT_ONCE == 0:
            yield
    limit.cut += is_cut
    return Value(len(trees), str(len(trees)), state_value={"groupId": group.id, AGENTS: trees})


def agent_tree(agent: Agent, media: frozenset[str] | None) -> dict[str, object]:
    """One agent's tree. It is kept until the agent's state changes, so that a group costs little when few of its agents change."""
    tree = agent.states.get(media)
    if tree is None:
        if len(agent.states) >= _STATES_KEPT:
            del agent.states[next(iter(agent.states))]
        tree = agent.states[media] = _tree(agent, media)
    return tree


def _user_data_bytes(agent: Agent, media: frozenset[str] | None) -> int:
    """Bytes of the user data in an agent's tree."""
    shown = (medium for medium in agent.media.values() if medium.login is not None and (media is None or medium.name in media))
    return sum(
        party.interaction.user_data_bytes * (1 if party.hold is None else 2) for medium in shown for party in medium.parties.values()
    )


def _tree(agent: Agent, media: frozenset[str] | None, *, bare: bool = False) -> dict[str, object]:
    """``bare``: without user data, and with a member that says so."""
    code, medium = highest(agent.media.values(), media)
    since = agent.status
    if media is not None and medium is not None and medium.status is not None:
        since = medium.status
    places: dict[str | None, list[Medium]] = {}
    for shown in agent.media.values():
        if shown.login is not None and (media is None or shown.name in media):
            places.setdefault(shown.place, []).append(shown)
    place = agent.place if medium is None else medium.place
    tree: dict[str, object] = {
        "agentId": agent.id,
        "loginId": agent.id,
        "status": code,
        "statusName": STATUS_NAMES[code],
        "time": since.start_s,
        "place": _place(agent, place, code, since.start_s, places.get(place, []), bare=bare),
    }
    if len(places) > 1:
        tree["places"] = [_place_of_its_own(agent, each, there, bare=bare) for each, there in places.items()]
    if bare:
        tree["userDataLeftOut"] = True
    return tree


def _place(agent: Agent, place: str | None, code: int, since_s: int, there: list[Medium], *, bare: bool) -> dict[str, object]:
    return {"placeId": place, "status": code, "time": since_s, "dnStatuses": [_dn(agent, m, bare=bare) for m in there]}


def _place_of_its_own(agent: Agent, place: str | None, there: list[Medium], *, bare: bool) -> dict[str, object]:
    """One of several places, with the status that the agent has there."""
    code, medium = highest(there, None)
    assert medium is not None
    assert medium.status is not None, "who is logged in has a status"
    return _place(agent, place, code, medium.status.start_s, there, bare=bare)


def _dn(agent: Agent, medium: Medium, *, bare: bool) -> dict[str, object]:
    status = medium.status
    assert status is not None, "who is logged in has a status"
    actions = [
        _action(span, None, None, medium.reason if span.name == NOT_READY else None)
        for span in (medium.login, medium.mode_span)
        if span is not None
    ]
    for party in medium.parties.values():
        user_data = None if bare else party.interaction.user_data
        actions.append(_action(party.span, party.interaction.id, user_data, None))
        if party.hold is not None:
            actions.append(_action(party.hold, party.interaction.id, user_data, None))
    return {
        "dnId": medium.dn or agent.id,
        "switchId": None,
        "dnType": 1,
        "media": medium.name,
        "status": STATUS_CODES[status.name],
        "statusName": status.name,
        "time": status.start_s,
        "actions": actions,
    }


def _action(span: Span, interaction: str | None, user_data: dict[str, object] | None, reason: str | None) -> dict[str, object]:
    return {
        "action": span.name,
        "time": span.start_s,
        "connectionId": interaction,
        "userData": user_data or {},
        "reasons": {} if reason is None else {"ReasonCode": reason},
    }
