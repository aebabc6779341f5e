"""What the parts of a hub ask of its other nodes: who lives, and calls to them.

A node is one process of the hub. Its incarnation is a random name that it takes when it starts: a process that was restarted is another
node. :mod:`hub.cluster.registry` knows which nodes live, :mod:`hub.cluster.links` calls them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

import msgspec

UNKNOWN_HUB: Final = "?"
"""The ``hub`` of a node that starts, and does not know yet which database it has."""


class NodeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a node tells the others about itself, once a second."""

    incarnation: str
    version: str
    """The version of the product."""
    role: str = "all"
    """The setting ``role``."""
    link: str = ""
    """The URL at which other nodes reach it (the setting ``link_url``); empty if it takes no links."""
    machine: str = ""
    """The machine that it runs on. Workers of one machine have the same."""
    worker: int | None = None
    """Its number among the workers of one ``hub serve --workers``."""
    draining: bool = False
    """Whether it is about to stop: it takes no new session and no new tenant."""
    ended: bool = False
    """Whether it has stopped in order: its last word."""
    envelopes: tuple[int, ...] = (2, 3)
    """The versions of the bus's envelope that it reads."""
    hub: str = ""
    """An id of the hub's database: nodes of two hubs that share a Redis have different ones."""
    secret: str = ""
    """A fingerprint of the setting ``secret``, by which a node finds that another has a different one."""
    redis: str = ""
    """What its setting ``redis_url`` names, in a form that is the same for the same list (:func:`hub.redis.urls.fingerprint_of`); empty:
    it does not tell, for it has an earlier version.
    """
    folders: dict[str, str] = {}
    """The ids of the folders that it must have in common with others (:mod:`hub.cluster.folders`), by their settings; empty where the
    setting has no value. Without a key: it needs no such folder, or has an earlier version.
    """
    clock_ms: int = 0
    """Its wall clock when it said this, in ms since 1970."""


class LinkError(Exception):
    """A call to another node failed. The other node may have done what was asked, or not."""


class NodeGoneError(LinkError):
    """No live node has this incarnation: it has ended, and what it had is lost."""


class UnreachableError(LinkError):
    """The node lives, as far as anybody knows, but the link to it cannot be made, broke, or did not answer in time."""


class CallEndedError(LinkError):
    """The other node has ended the call before its last piece."""


class TooSlowError(CallEndedError):
    """What the other node sent was not read for long, and its room was needed for other calls."""


class TooLongError(ValueError):
    """What is to be sent in one piece is longer than a link takes. Nothing was sent."""

    def __init__(self, what: str, most: int, got: int) -> None:
        super().__init__(f"expected {what} of at most {most} bytes, which is what goes over a link between nodes, got {got}")


class Nodes(Protocol):
    """The nodes of the hub, as this process knows them. The last view stands while Redis is away: nobody expires then."""

    on_changed: list[Callable[[], object]]
    """Called after a node came, went, or changed its record."""
    on_left: list[Callable[[str], object]]
    """Called with the incarnation of a node that lives no more."""

    @property
    def me(self) -> NodeRecord:
        """The record of this process."""
        ...

    def live(self) -> Mapping[str, NodeRecord]:
        """All nodes that live, by incarnation, this one among them."""
        ...

    def find(self, incarnation: str) -> NodeRecord | None:
        """A node that lives; None if there is none of this incarnation."""
        ...

    async def look_for(self, incarnation: str) -> NodeRecord | None:
        """A node that lives, also one that came so lately that :meth:`find` does not know it yet: a client may have been there, and comes
        here with its next request. None if there is none, or if nobody answers who lives.
        """
        ...


class Call(Protocol):
    """One end of a call between two nodes, over their link. Either side sends pieces, in order; a side that stops reading makes the other
    wait (1 MiB of unread pieces at most).
    """

    @property
    def node(self) -> str:
        """The incarnation of the other node."""
        ...

    @property
    def head(self) -> bytes:
        """What the caller said when it opened the call: what is asked."""
        ...

    @property
    def body(self) -> bytes:
        """The data that came with the head."""
        ...

    @property
    def hops(self) -> int:
        """How many links the request has gone over, this one included."""
        ...

    async def send(self, piece: bytes, *, last: bool = False) -> None:
        """Send a piece to the other side; waits while it has too much unread. ``last``: this side sends nothing more, as if
        :meth:`finish` were called.

        Raises:
            LinkError: the call is over.
            TooLongError: the piece is longer than a link takes (32 MiB).
        """
        ...

    def try_send(self, piece: bytes, *, last: bool = False) -> bool:
        """Send a piece now, as :meth:`send` does; False if that would have to wait, and nothing was sent.

        Raises:
            LinkError, TooLongError: as for :meth:`send`.
        """
        ...

    async def receive(self) -> bytes | None:
        """The next piece of the other side; None after its last one.

        Raises:
            CallEndedError: the other side cancelled the call.
            UnreachableError: the link broke.
        """
        ...

    def take(self) -> bytes | None:
        """The next piece of the other side, if it is here; None if it has not come yet.

        Raises:
            CallEndedError: the other side cancelled the call, or its last piece was taken.
            UnreachableError: the link broke.
        """
        ...

    def when_ready(self, ready: Callable[[], object] | None) -> None:
        """Have the event loop call ``ready``, in a callback of its own, whenever a piece has come or the call has ended, and at once where
        that is so already. It may be called with nothing new to take. No task may :meth:`receive` meanwhile. None ends it.
        """
        ...

    def finish(self) -> None:
        """Say that this side sends nothing more. Idempotent."""
        ...

    def cancel(self) -> None:
        """End the call at once, in both directions. Idempotent; a call that is over is left alone."""
        ...

    def confirm(self, *, written: bool) -> None:
        """The caller tells whether the reply reached whoever it is for. Called at most once."""
        ...

    async def confirmed(self, timeout_s: float = 5.0) -> bool:
        """Whether the caller said that the reply was written; False if it said that it was not, if the call or the link broke, or after
        ``timeout_s`` seconds without either.
        """
        ...

    def when_confirmed(self, told: Callable[[bool], object], timeout_s: float = 5.0) -> None:
        """Have the event loop call ``told`` once, with what :meth:`confirmed` returns."""
        ...


Handler = Callable[[Call], Awaitable[None]]
"""Answers calls of one kind. When it returns, its side of the call is finished; when it raises, the call is cancelled and the exception is
logged and counted."""


class Links(Protocol):
    """Calls to other nodes. One link, a connection that carries many calls, joins each pair of nodes; it is opened when it is needed."""

    on_broken: list[Callable[[str], object]]
    """Called with the incarnation of a node when the link to it broke."""

    def serve(self, kind: str, handler: Handler) -> None:
        """Have ``handler`` answer the calls of a kind.

        Raises:
            ValueError: another handler answers them.
        """
        ...

    async def open(self, node: str, kind: str, head: bytes = b"", body: bytes = b"", *, hops: int = 0) -> Call:
        """Begin a call. ``hops``: the links that the request has gone over before.

        Raises:
            NodeGoneError, UnreachableError: see there.
            TooLongError: head and body are longer than a link takes (32 MiB).
        """
        ...

    async def ask(self, node: str, kind: str, head: bytes = b"", body: bytes = b"", *, timeout_s: float, hops: int = 0) -> bytes:
        """Call, and return the one piece that comes back. The call is cancelled if this is.

        Raises:
            NodeGoneError, UnreachableError, CallEndedError: see there.
            TooLongError: head and body are longer than a link takes (32 MiB).
        """
        ...
