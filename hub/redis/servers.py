"""The servers over which the keys of a hub are spread: one, several that share the tenants, or the masters of a Cluster."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Protocol

from hub.redis.commands import Commands, ServerCommands


class Servers(Protocol):
    """Where keys are. What stands between the first ``{`` and the next ``}`` of a key decides, so that keys with the same lie together
    (docs/scaling.md#where-a-tenant-is).
    """

    on_changed: list[Callable[[], object]]
    """Called after keys came to another server."""

    def of(self, key: bytes) -> Commands:
        """Commands to the server that has a key. They follow the key, also when it comes to another server."""
        ...

    def home(self, key: bytes) -> ServerCommands | None:
        """The server that has a key, as far as this process knows; None if it does not know yet."""
        ...

    def all(self) -> Sequence[ServerCommands]:
        """All servers that have keys, as far as this process knows."""
        ...

    def is_stray(self, key: bytes, server: ServerCommands) -> bool:
        """Whether a key that was found on a server has another one since the list of servers was changed."""
        ...

    async def refresh(self) -> None:
        """Ask again which server has which keys. What cannot be learned stays as it was."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


def tag_of(key: bytes) -> bytes:
    """The part of a key that decides where it lies: what stands between its first ``{`` and the next ``}``, or all of it."""
    begin = key.find(b"{")
    end = key.find(b"}", begin + 2) if begin >= 0 else -1
    return key if end < 0 else key[begin + 1 : end]


class SpreadServers:
    """Several Redis that share the keys: each key lies where its tag and the server's name have the highest hash together (rendezvous
    hashing), so that a server that is added or removed moves no other keys than its own.
    """

    __slots__ = ("_members", "on_changed")

    def __init__(self, members: Sequence[tuple[str, Servers]]) -> None:
        """``members``: each with the name by which it is chosen. Their order says nothing."""
        self._members = [(name.encode(), servers) for name, servers in members]
        self.on_changed: list[Callable[[], object]] = []
        for _, servers in self._members:
            servers.on_changed.append(self._changed)

    def member(self, key: bytes) -> Servers:
        """The Redis that has a key."""
        tag = tag_of(key)
        return max(self._members, key=lambda member: hashlib.blake2b(member[0] + b"\0" + tag, digest_size=8).digest())[1]

    def beside(self, key: bytes) -> list[Commands]:
        """Commands to the other Redis than the one that has a key, each to the server that would have it there."""
        home = self.member(key)
        return [servers.of(key) for _, servers in self._members if servers is not home]

    def of(self, key: bytes) -> Commands:
        """See :meth:`Servers.of`."""
        return self.member(key).of(key)

    def home(self, key: bytes) -> ServerCommands | None:
        """See :meth:`Servers.home`."""
        return self.member(key).home(key)

    def all(self) -> Sequence[ServerCommands]:
        """See :meth:`Servers.all`."""
        return [server for _, servers in self._members for server in servers.all()]

    def is_stray(self, key: bytes, server: ServerCommands) -> bool:
        """See :meth:`Servers.is_stray`."""
        return server not in self.member(key).all()

    async def refresh(self) -> None:
        """See :meth:`Servers.refresh`."""
        for _, servers in self._members:
            await servers.refresh()

    async def close(self) -> None:
        """See :meth:`Servers.close`."""
        for _, servers in self._members:
            await servers.close()

    def _changed(self) -> None:
        for listener in self.on_changed:
            listener()
