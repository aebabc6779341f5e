"""Nodes of a hub in one process, joined by links that a test delays, cuts and kills: :class:`hub.cluster.cluster.Cluster` without sockets.

Calls, their order, flow control, cancellation and confirmation are the product's own (:mod:`hub.cluster.link`): only what carries frames
and who tells that a node lives is made up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec

from hub.cluster.cluster import Cluster
from hub.cluster.link.base import BaseLinks
from hub.cluster.link.frames import Frame
from hub.cluster.link.multiplexer import Multiplexer
from hub.cluster.link.tuning import Tuning
from hub.cluster.ports import NodeGoneError, NodeRecord, UnreachableError


class MemoryNodes:
    """:class:`hub.cluster.ports.Nodes` of one node of a :class:`MemoryCluster`."""

    def __init__(self, me: NodeRecord) -> None:
        self.on_changed: list[Callable[[], object]] = []
        self.on_left: list[Callable[[str], object]] = []
        self._me = me
        self._live: dict[str, NodeRecord] = {me.incarnation: me}

    @property
    def me(self) -> NodeRecord:
        return self._me

    def live(self) -> Mapping[str, NodeRecord]:
        return self._live

    def find(self, incarnation: str) -> NodeRecord | None:
        return self._live.get(incarnation)

    async def look_for(self, incarnation: str) -> NodeRecord | None:
        return self.find(incarnation)

    def see(self, record: NodeRecord) -> None:
        """A node came, or changed its record."""
        self._live[record.incarnation] = record
        if record.incarnation == self._me.incarnation:
            self._me = record
        for changed in self.on_changed:
            changed()

    def lose(self, incarnation: str) -> None:
        """A node lives no more."""
        if self._live.pop(incarnation, None) is not None:
            for left in self.on_left:
                left(incarnation)
            for changed in self.on_changed:
                changed()


class MemoryLinks(BaseLinks):
    """:class:`hub.cluster.ports.Links` of one node of a :class:`MemoryCluster`."""

    def __init__(self, cluster: MemoryCluster, me: str, tuning: Tuning) -> None:
        super().__init__(tuning)
        self._cluster = cluster
        self._me = me
        self.ends: dict[str, Multiplexer] = {}
        """This node's ends of its links, by the node at the other end."""

    async def link(self, node: str) -> Multiplexer:
        if node == self._me:
            raise ValueError("a node does not call itself")
        if self._cluster.of(self._me).nodes.find(node) is None:
            raise NodeGoneError(f"no live node has the incarnation {node}")
        await asyncio.sleep(0)  # a real link is not made at once
        return self._cluster.join(self._me, node)


class MemoryNode(Cluster):
    """One node: its view of the others, and its links."""

    nodes: Any
    links: Any

    @property
    def incarnation(self) -> str:
        return str(self.nodes.me.incarnation)


class _Line:
    """What is on its way from one node to another, in order."""

    def __init__(self, cluster: MemoryCluster, source: str, target: str, deliver: Callable[[Frame], object]) -> None:
        self._cluster = cluster
        self._way = (source, target)
        self._deliver = deliver
        self._waiting: deque[Frame] = deque()
        self._held = 0
        """Frames at the end of ``_waiting`` that arrive when the way is released."""
        self.closed = False

    def write(self, frame: Frame) -> None:
        if self.closed or self._way in self._cluster.cuts:
            return
        self._waiting.append(frame)
        if self._way in self._cluster.holds:
            self._held += 1
        else:
            asyncio.get_running_loop().call_later(self._cluster.delays.get(self._way, 0.0), self._arrive)

    def release(self, way: tuple[str, str]) -> None:
        """Let what was held on this way arrive, if it is the way of this line."""
        if way == self._way:
            held, self._held = self._held, 0
            for _ in range(held):
                asyncio.get_running_loop().call_soon(self._arrive)

    def _arrive(self) -> None:
        if self.closed or not self._waiting:
            return
        frame = self._waiting.popleft()
        if self._way not in self._cluster.cuts:
            self._deliver(frame)


class MemoryCluster:
    """``count`` nodes. They find each other at once; links are made at the first call."""

    def __init__(self, count: int = 2, *, dead_s: float = 0.05, tuning: Tuning | None = None, **record: Any) -> None:
        """``dead_s``: seconds after which a link breaks that is cut in one direction or both; ``record``: further fields of every
        :class:`hub.cluster.ports.NodeRecord`.
        """
        self.dead_s = dead_s
        self.delays: dict[tuple[str, str], float] = {}
        """Seconds that a frame takes from one node to another."""
        self.holds: set[tuple[str, str]] = set()
        """Ways on which frames wait until a test releases them."""
        self.cuts: set[tuple[str, str]] = set()
        self._dead: set[str] = set()
        self._lines: dict[frozenset[str], tuple[_Line, _Line]] = {}
        self._tuning = tuning or Tuning()
        self._record = record
        self._nodes: dict[str, MemoryNode] = {}
        self._names = 0
        for _ in range(count):
            self.add()

    @property
    def nodes(self) -> list[MemoryNode]:
        """The nodes that live, in the order in which they came."""
        return [node for name, node in self._nodes.items() if name not in self._dead]

    def __getitem__(self, index: int) -> MemoryNode:
        """A node, by its place among all that ever were."""
        return list(self._nodes.values())[index]

    def of(self, incarnation: str) -> MemoryNode:
        """A node, by its incarnation."""
        return self._nodes[incarnation]

    def add(self, **record: Any) -> MemoryNode:
        """Start one more node, which all others see at once."""
        self._names += 1
        made = NodeRecord(incarnation=f"{self._names:012x}", version="test", link="memory", **{**self._record, **record})
        node = MemoryNode(MemoryNodes(made), MemoryLinks(self, made.incarnation, self._tuning))
        self._nodes[made.incarnation] = node
        for other in self.nodes:
            if other is not node:
                other.nodes.see(made)
                node.nodes.see(other.nodes.me)
        return node

    def change(self, node: MemoryNode, **fields: Any) -> None:
        """Have a node say something else about itself, such as ``draining=True``."""
        record = msgspec.structs.replace(node.nodes.me, **fields)
        for each in self.nodes:
            each.nodes.see(record)

    def delay(self, source: MemoryNode, target: MemoryNode, seconds: float) -> None:
        """Let every frame from one node to another take so long, from now on."""
        self.delays[source.incarnation, target.incarnation] = seconds

    def hold(self, source: MemoryNode, target: MemoryNode) -> None:
        """Keep every frame from one node to another until :meth:`release`, however long what a test does meanwhile takes."""
        self.holds.add((source.incarnation, target.incarnation))

    def release(self, source: MemoryNode, target: MemoryNode) -> None:
        """Let arrive what was held, and what comes, without a delay."""
        way = (source.incarnation, target.incarnation)
        self.holds.discard(way)
        for line in self._lines.get(frozenset(way), ()):
            line.release(way)

    def cut(self, source: MemoryNode, target: MemoryNode, *, both: bool = True) -> None:
        """Let nothing through from one node to another, or in both directions: both notice it after ``dead_s``."""
        self.cuts.add((source.incarnation, target.incarnation))
        if both:
            self.cuts.add((target.incarnation, source.incarnation))
        asyncio.get_running_loop().call_later(self.dead_s, self._break, source.incarnation, target.incarnation)

    def mend(self, source: MemoryNode, target: MemoryNode) -> None:
        """Let everything through again, in both directions."""
        self.cuts -= {(source.incarnation, target.incarnation), (target.incarnation, source.incarnation)}

    def drop(self, source: MemoryNode, target: MemoryNode) -> None:
        """Break the link between two nodes at once. The next call makes another."""
        self._break(source.incarnation, target.incarnation)

    def kill(self, node: MemoryNode, *, lapse: bool = True) -> None:
        """End a node as ``kill -9`` does: its links break at once. ``lapse``: the others are told in the same moment that it lives no more;
        else it stays in their view until :meth:`lapse`.
        """
        self._dead.add(node.incarnation)
        for other in list(node.links.ends):
            self._break(node.incarnation, other)
        if lapse:
            self.lapse(node)

    def lapse(self, node: MemoryNode) -> None:
        """Let the others see that a node that was killed lives no more."""
        for other in self.nodes:
            other.nodes.lose(node.incarnation)

    async def close(self) -> None:
        """Break every link, and end the handlers that still run."""
        for node in self._nodes.values():
            for end in list(node.links.ends.values()):
                await end.close()
            node.links.ends.clear()

    def join(self, source: str, target: str) -> Multiplexer:
        """The end of ``source`` of the link to ``target``; it is made if there is none.

        Raises:
            UnreachableError: the way is cut, or the node is dead.
        """
        if {source, target} & self._dead:
            raise UnreachableError(f"{target} does not answer")
        links = self._nodes[source].links
        if target in links.ends:
            end: Multiplexer = links.ends[target]
            return end
        if (source, target) in self.cuts or (target, source) in self.cuts:
            raise UnreachableError(f"{target} does not answer")
        other = self._nodes[target].links
        forth = _Line(self, source, target, lambda frame: other.ends[source].receive(frame))
        back = _Line(self, target, source, lambda frame: links.ends[target].receive(frame))
        links.ends[target] = Multiplexer(target, forth.write, links.handlers, links.tuning, links.counters, dialled=True)
        other.ends[source] = Multiplexer(source, back.write, other.handlers, other.tuning, other.counters, dialled=False)
        self._lines[frozenset((source, target))] = (forth, back)
        return cast("Multiplexer", links.ends[target])

    def _break(self, source: str, target: str) -> None:
        lines = self._lines.pop(frozenset((source, target)), None)
        if lines is None:
            return
        for line in lines:
            line.closed = True
        for one, other in ((source, target), (target, source)):
            links = self._nodes[one].links
            end = links.ends.pop(other, None)
            if end is not None:
                end.broken("the link broke")
                if one not in self._dead:
                    for broken in links.on_broken:
                        broken(other)
