"""Asks the other nodes whether a ``BAYEUX_BROWSER`` cookie leads to a session there: one that does says whose its sender is, on any node
(docs/security.md#whose-a-session-is).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from hub.bayeux.ports import KnownBrowsers
from hub.bayeux.registry import Registry
from hub.cluster.ports import Call, LinkError, Links, NodeGoneError, Nodes

KIND: Final = "browsers"
"""The kind of these calls between nodes."""

_question: Final = msgspec.msgpack.Decoder(list[str])
_answer: Final = msgspec.msgpack.Decoder(tuple[list[str], list[str]])


class Browsers:
    """A :class:`hub.bayeux.ports.OtherBrowsers`, and the answers to that of other nodes. It is asked for the few requests only that name a
    live session, and bring neither its cookie nor a credential.
    """

    __slots__ = ("_ask_s", "_links", "_nodes", "_registry")

    def __init__(self, nodes: Nodes, links: Links, *, ask_s: float) -> None:
        """``ask_s``: seconds that another node may take to answer."""
        self._nodes = nodes
        self._links = links
        self._ask_s = ask_s
        self._registry: Registry[Any, Any] | None = None

    def serve(self, registry: Registry[Any, Any]) -> None:
        """Answer other nodes from the cookies of this one."""
        self._registry = registry
        self._links.serve(KIND, self._tell)

    async def look(self, values: Sequence[str]) -> KnownBrowsers:
        """See :meth:`hub.bayeux.ports.OtherBrowsers.look`. What a node that does not answer knows is not known: all of them may lead to a
        session there.
        """
        question = msgspec.msgpack.encode(list(values))
        others = [node for node in self._nodes.live() if node != self._nodes.me.incarnation]
        answers = await asyncio.gather(*(self._ask(node, question, values) for node in others))
        known = frozenset([value for found, _ in answers for value in found])
        return KnownBrowsers(known, frozenset([value for _, offered in answers for value in offered]))

    async def _ask(self, node: str, question: bytes, values: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
        try:
            return _answer.decode(await self._links.ask(node, KIND, question, timeout_s=self._ask_s))
        except NodeGoneError:
            return (), ()
        except (LinkError, msgspec.DecodeError):
            return values, ()

    async def _tell(self, call: Call) -> None:
        registry = self._registry
        assert registry is not None
        values = _question.decode(call.head)
        known = [value for value in values if value in registry.browsers]
        offered = [value for value in values if value in registry.offered]
        await call.send(msgspec.msgpack.encode((known, offered)), last=True)
