"""On which node the sessions of a browser live: its home (docs/scaling.md#the-home-of-a-browser)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hub.cluster.ports import NodeRecord, Nodes
from hub.cluster.rendezvous import first, weight
from hub.family import ProcessRole, process_roles
from hub.security.cookies import new_cookie_value

_MAX_DRAWS: Final = 1000
"""Cookies that are drawn at most until one falls on this node. With 100 nodes, 43 of a million browsers get none in 1,000 draws."""


def serves_clients(node: NodeRecord) -> bool:
    """Whether a node opens sessions."""
    return not node.draining and bool(node.link) and ProcessRole.EDGE in process_roles(node.role)


class Homes:
    """The homes of browsers, as this node knows the others."""

    __slots__ = ("_candidates", "_nodes")

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._candidates: tuple[str, ...] | None = None
        nodes.on_changed.append(self._forget)

    def _forget(self) -> None:
        self._candidates = None

    def _all(self) -> tuple[str, ...]:
        if self._candidates is None:
            self._candidates = tuple([name for name, node in self._nodes.live().items() if serves_clients(node)])
        return self._candidates

    def of(self, browser: str) -> str | None:
        """The home of a browser; None if that is this node, or no node opens sessions now."""
        found = first(browser, self._all())
        return None if found == self._nodes.me.incarnation else found

    def new_browser(self) -> str:
        """A new cookie whose home is this node, while this node opens sessions; else any new cookie."""
        me = self._nodes.me.incarnation
        value = new_cookie_value()
        nodes = self._all()
        if me in nodes:
            others = [node for node in nodes if node != me]
            for _ in range(_MAX_DRAWS):
                if _falls_on(me, value, others):
                    break
                value = new_cookie_value()
        return value


def _falls_on(node: str, cookie: str, others: Iterable[str]) -> bool:
    """Whether a cookie's home is ``node``. Nearly every cookie of another home is found out by the first few of ``others``."""
    own = weight(cookie, node)
    return all(weight(cookie, other) < own for other in others)
