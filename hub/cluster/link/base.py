"""What every implementation of :class:`hub.cluster.ports.Links` shares: who answers which calls, and a call with one answer."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable

from hub.cluster.link.call import LinkCall
from hub.cluster.link.frames import MAX_KIND_CHARACTERS
from hub.cluster.link.multiplexer import Multiplexer
from hub.cluster.link.tuning import Counters, Tuning
from hub.cluster.ports import CallEndedError, Handler, UnreachableError


class BaseLinks(ABC):
    """Calls to other nodes, over links that a subclass makes."""

    def __init__(self, tuning: Tuning) -> None:
        self.on_broken: list[Callable[[str], object]] = []
        """See :attr:`hub.cluster.ports.Links.on_broken`."""
        self.counters = Counters()
        self.tuning = tuning
        self.handlers: dict[str, Handler] = {}
        """By kind of call."""

    @abstractmethod
    async def link(self, node: str) -> Multiplexer:
        """The link to a node; it is made if there is none.

        Raises:
            NodeGoneError, UnreachableError: see there.
        """

    def serve(self, kind: str, handler: Handler) -> None:
        """See :meth:`hub.cluster.ports.Links.serve`."""
        if kind in self.handlers:
            raise ValueError(f"calls of the kind {kind} have a handler already")
        if not 0 < len(kind) <= MAX_KIND_CHARACTERS or not kind.isascii():
            raise ValueError(f"expected a kind of call of 1 to {MAX_KIND_CHARACTERS} ASCII characters, got {kind!r}")
        self.handlers[kind] = handler

    async def open(self, node: str, kind: str, head: bytes = b"", body: bytes = b"", *, hops: int = 0) -> LinkCall:
        """See :meth:`hub.cluster.ports.Links.open`."""
        link = await self.link(node)
        return await link.open(kind, head, body, hops, alone=False)

    async def ask(self, node: str, kind: str, head: bytes = b"", body: bytes = b"", *, timeout_s: float, hops: int = 0) -> bytes:
        """See :meth:`hub.cluster.ports.Links.ask`."""
        call: LinkCall | None = None
        try:
            async with asyncio.timeout(timeout_s):
                link = await self.link(node)
                call = await link.open(kind, head, body, hops, alone=True)
                answer = await call.receive()
        except BaseException as error:
            if call is not None:
                call.cancel()
            if isinstance(error, TimeoutError):
                raise UnreachableError(f"{node} did not answer within {timeout_s:g} s") from None
            raise
        if answer is None:
            raise CallEndedError(f"{node} ended the call {kind} without an answer")
        call.ignore()
        return answer
