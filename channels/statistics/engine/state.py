"""CurrentState: what goes on at an agent or in a group, as a tree in the shape of Stat Server's AgentStatus."""

from __future__ import annotations

from collections.abc import Generator

from channels.statistics.engine.objects import Agent, Group, Interaction, Medium, highest
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


def agent_value(agent: Agent, media: frozenset[str] | None) -> Value:
    """The state of an agent, on all media or on some: status code, its name, and the tree."""
    tree = agent_tree(agent, media)
    code = tree["status"]
    assert isinstance(code, int)
    return Value(code, STATUS_NAMES[code], state_value=tree)


def group_value(group: Group, media: frozenset[str] | None) -> Generator[None, None, Value]:
    """The states of the agents of a group, by id: how many there are, and their trees. In pieces: a group may have thousands of members.
    What changes between two pieces is among the changed statistics afterwards.
    """
    identifiers = yield from sort_in_pieces(list(group.members))
    trees = []
    for number, identifier in enumerate(identifiers, 1):
        entry = group.members.get(identifier)
        if entry is not None:
            agent = entry[0]
            assert isinstance(agent, Agent), "a group whose state is asked for is one of agents"
            trees.append(agent_tree(agent, media))
        if number % _TREES_AT_ONCE == 0:
            yield
    return Value(len(trees), str(len(trees)), state_value={"groupId": group.id, AGENTS: trees})


def agent_tree(agent: Agent, media: frozenset[str] | None) -> dict[str, object]:
    """One agent's tree. It is kept until the agent's state changes, so that a group costs little when few of its agents change."""
    tree = agent.states.get(media)
    if tree is None:
        if len(agent.states) >= _STATES_KEPT:
            del agent.states[next(iter(agent.states))]
        tree = agent.states[media] = _tree(agent, media)
    return tree


def _tree(agent: Agent, media: frozenset[str] | None) -> dict[str, object]:
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
        "place": _place(agent, place, code, since.start_s, places.get(place, [])),
    }
    if len(places) > 1:
        tree["places"] = [_place_of_its_own(agent, each, there) for each, there in places.items()]
    return tree


def _place(agent: Agent, place: str | None, code: int, since_s: int, there: list[Medium]) -> dict[str, object]:
    return {"placeId": place, "status": code, "time": since_s, "dnStatuses": [_dn(agent, m) for m in there]}


def _place_of_its_own(agent: Agent, place: str | None, there: list[Medium]) -> dict[str, object]:
    """One of several places, with the status that the agent has there."""
    code, medium = highest(there, None)
    assert medium is not None
    assert medium.status is not None, "who is logged in has a status"
    return _place(agent, place, code, medium.status.start_s, there)


def _dn(agent: Agent, medium: Medium) -> dict[str, object]:
    status = medium.status
    assert status is not None, "who is logged in has a status"
    actions = [
        _action(span, None, medium.reason if span.name == NOT_READY else None)
        for span in (medium.login, medium.mode_span)
        if span is not None
    ]
    for party in medium.parties.values():
        actions.append(_action(party.span, party.interaction, None))
        if party.hold is not None:
            actions.append(_action(party.hold, party.interaction, None))
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


def _action(span: Span, interaction: Interaction | None, reason: str | None) -> dict[str, object]:
    return {
        "action": span.name,
        "time": span.start_s,
        "connectionId": None if interaction is None else interaction.id,
        "userData": {} if interaction is None or interaction.user_data is None else interaction.user_data,
        "reasons": {} if reason is None else {"ReasonCode": reason},
    }
