"""Sessions and channels of a tenant on all nodes: asks each node for its own (docs/scaling.md#presence)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec
import structlog

from hub.cluster.cluster import Cluster
from hub.cluster.ports import Call, LinkError, NodeGoneError
from hub.core.session_ids import INCARNATION_CHARACTERS
from hub.family import ProcessRole, process_roles
from hub.presence.questions import (
    KIND,
    ChannelsQuestion,
    ChannelsReply,
    CountQuestion,
    DisconnectQuestion,
    NumberReply,
    Question,
    SessionQuestion,
    SessionReply,
    SessionsQuestion,
    SessionsReply,
)
from hub.presence.roster import ChannelCount, Roster, describe

T = TypeVar("T")
R = TypeVar("R", ChannelsReply, NumberReply, SessionReply, SessionsReply)

_question: Final[msgspec.json.Decoder[Question]] = msgspec.json.Decoder(Question)
_replies: Final[dict[type, msgspec.json.Decoder[Any]]] = {
    each: msgspec.json.Decoder(each) for each in (ChannelsReply, NumberReply, SessionReply, SessionsReply)
}


_log = structlog.get_logger(__name__)


class Surveyed(NamedTuple, Generic[T]):
    """What was found, and which nodes did not answer in time: what they have is missing."""

    found: T
    missing: tuple[str, ...] = ()
    """Incarnations."""


class Channels(NamedTuple):
    """A page of channels, in the order of their names, with the sessions of all nodes. ``after`` is a name if there are more behind it."""

    items: list[ChannelCount]
    after: str | None


class Place(NamedTuple):
    """Where a page of sessions begins: after the serial of a session of a node."""

    node: str
    serial: int

    def __str__(self) -> str:
        return f"{self.node}-{self.serial}"


class Sessions(NamedTuple):
    """A page of sessions: node after node, in the order of their incarnations, and of each in the order in which the sessions came."""

    items: list[dict[str, Any]]
    after: Place | None


class Survey:
    """The sessions of all nodes that take connections. A node alone answers for itself."""

    __slots__ = ("_cluster", "_incarnation", "_roster", "_timeout_s")

    def __init__(self, roster: Roster, incarnation: str, cluster: Cluster | None = None, *, timeout_s: float = 1.0) -> None:
        """``roster`` and ``incarnation`` are this process's. ``timeout_s``: what answers later is missing from a page."""
        self._roster = roster
        self._incarnation = incarnation
        self._cluster = cluster
        self._timeout_s = timeout_s
        if cluster is not None:
            cluster.links.serve(KIND, self._serve)

    async def channels(self, question: ChannelsQuestion) -> Surveyed[Channels]:
        """A page of the channels and patterns with a subscriber on any node."""
        replies, missing = await self._ask_all(question, ChannelsReply)
        counts: dict[str, int] = {}
        for reply in replies:
            for name, sessions in reply.channels:
                counts[name] = counts.get(name, 0) + sessions
        # beyond the last name that a node told of, that node may have more of a channel than it said
        bound = min((reply.after for reply in replies if reply.after is not None), default=None)
        names = sorted(name for name in counts if bound is None or name <= bound)
        page = names[: question.limit]
        after = page[-1] if len(names) > question.limit else bound
        return Surveyed(Channels([ChannelCount(name, counts[name]) for name in page], after), missing)

    async def count(self, tenant: str, channel: str) -> Surveyed[int]:
        """The number of sessions that subscribed to exactly this channel or pattern."""
        replies, missing = await self._ask_all(CountQuestion(tenant, channel), NumberReply)
        return Surveyed(sum(reply.number for reply in replies), missing)

    async def sessions(self, question: SessionsQuestion, after: Place | None) -> Surveyed[Sessions]:
        """A page of sessions, from ``after`` on. When the time is over, the page ends: it may have less than ``question.limit`` although
        there are more.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self._timeout_s
        items: list[dict[str, Any]] = []
        missing: list[str] = []
        nodes = [node for node in sorted(self._nodes()) if after is None or node >= after.node]
        for number, node in enumerate(nodes):
            serial = after.serial if after is not None and after.node == node else 0
            rest = msgspec.structs.replace(question, limit=question.limit - len(items), after=serial)
            try:
                reply = await self._ask(node, rest, SessionsReply, max(0.0, until - loop.time()))
            except LinkError as error:
                if self._is_silent(node, error):
                    missing.append(node)
            else:
                items += reply.sessions
                if reply.after is not None:
                    return Surveyed(Sessions(items, Place(node, reply.after)), tuple(missing))
            if number + 1 < len(nodes) and (len(items) >= question.limit or loop.time() >= until):
                return Surveyed(Sessions(items, Place(nodes[number + 1], 0)), tuple(missing))
        return Surveyed(Sessions(items, None), tuple(missing))

    async def find(self, tenant: str, public_id: str) -> Surveyed[dict[str, Any] | None]:
        """The description of a session, with its channels; None if the tenant has none of this id."""
        owner = self._owner(public_id)
        replies, missing = await self._ask_each(owner, SessionQuestion(tenant, public_id), SessionReply)
        return Surveyed(next((reply.session for reply in replies if reply.session is not None), None), missing)

    async def disconnect(self, tenant: str, public_id: str) -> Surveyed[str | None]:
        """End a session; returns its subject, None if the tenant has none of this id."""
        replies, missing = await self._ask_each(self._owner(public_id), DisconnectQuestion(tenant, id=public_id), NumberReply)
        return Surveyed(next((reply.subject for reply in replies if reply.number), None), missing)

    async def disconnect_subject(self, tenant: str, subject: str) -> Surveyed[int]:
        """End all present sessions of a subject on all nodes; returns how many."""
        replies, missing = await self._ask_all(DisconnectQuestion(tenant, subject=subject), NumberReply)
        return Surveyed(sum(reply.number for reply in replies), missing)

    # -- asking --------------------------------------------------------------------------------------------------------

    def _nodes(self) -> set[str]:
        """The nodes that may have sessions, this one among them."""
        nodes = {self._incarnation}
        if self._cluster is not None:
            live = self._cluster.nodes.live()
            nodes.update(name for name, record in live.items() if ProcessRole.EDGE in process_roles(record.role))
        return nodes

    def _owner(self, public_id: str) -> Sequence[str]:
        """The node that has a session, by its id; nobody if it lives no more."""
        owner = public_id[:INCARNATION_CHARACTERS]
        return [owner] if owner in self._nodes() else []

    async def _ask_all(self, question: Question, reply: type[R]) -> tuple[list[R], tuple[str, ...]]:
        return await self._ask_each(self._nodes(), question, reply)

    async def _ask_each(self, nodes: Iterable[str], question: Question, reply: type[R]) -> tuple[list[R], tuple[str, ...]]:
        """Ask nodes at the same time. Returns the replies, and the nodes that did not answer."""

        async def ask(node: str) -> R | str | None:
            try:
                return await self._ask(node, question, reply, self._timeout_s)
            except LinkError as error:
                return node if self._is_silent(node, error) else None

        answers = await asyncio.gather(*(ask(node) for node in nodes))
        missing = tuple(sorted(answer for answer in answers if isinstance(answer, str)))
        return [answer for answer in answers if answer is not None and not isinstance(answer, str)], missing

    async def _ask(self, node: str, question: Question, reply: type[R], timeout_s: float) -> R:
        """Ask one node, which may be this one.

        Raises:
            LinkError: it did not answer within ``timeout_s``.
        """
        if node == self._incarnation or self._cluster is None:
            answer = await self._answer(question)
            assert isinstance(answer, reply)
            return answer
        raw = await self._cluster.links.ask(node, KIND, msgspec.json.encode(question), timeout_s=timeout_s)
        answer_of_node: R = _replies[reply].decode(raw)
        return answer_of_node

    def _is_silent(self, node: str, error: LinkError) -> bool:
        """Whether a node that could not be asked may have sessions all the same. One that has ended has none; one that lives and takes no
        links has them.
        """
        if isinstance(error, NodeGoneError) and (self._cluster is None or self._cluster.nodes.find(node) is None):
            return False
        _log.warning("node_did_not_answer", node=node, reason=str(error))
        return True

    # -- answering -----------------------------------------------------------------------------------------------------

    async def _serve(self, call: Call) -> None:
        question: Question = _question.decode(call.head)
        await call.send(msgspec.json.encode(await self._answer(question)))

    async def _answer(self, question: Question) -> ChannelsReply | NumberReply | SessionReply | SessionsReply:
        """Answer for this process."""
        roster = self._roster
        match question:
            case ChannelsQuestion():
                page = await roster.channels(
                    question.tenant, limit=question.limit, after=question.after, prefix=question.prefix, within=question.within
                )
                return ChannelsReply([(item.channel, item.sessions) for item in page.items], page.after)
            case CountQuestion():
                return NumberReply(roster.count(question.tenant, question.channel))
            case SessionsQuestion():
                sessions = await roster.sessions(question.tenant, question.wanted, limit=question.limit, after=question.after)
                return SessionsReply(sessions.items, sessions.after)
            case SessionQuestion():
                found = await roster.find(question.tenant, question.id)
                return SessionReply(None if found is None else {**describe(found), "channels": list(found.subscriptions)})
            case DisconnectQuestion():
                return await self._disconnect(question)

    async def _disconnect(self, question: DisconnectQuestion) -> NumberReply:
        if question.subject is not None:
            return NumberReply(await self._roster.disconnect(question.tenant, question.subject))
        found = None if question.id is None else await self._roster.find(question.tenant, question.id)
        if found is None:
            return NumberReply(0)
        found.disconnect()
        return NumberReply(1, found.principal.subject)
