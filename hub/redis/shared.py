"""What the parts of a hub need that share state with other nodes over Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the client of Redis takes time to load, and most hubs do not use it
    from hub.redis.commands import Commands
    from hub.redis.names import Names
    from hub.redis.scripts import Scripts


class SharedRedis:
    """The way of this process to the Redis of each tenant."""

    __slots__ = ("_commands", "names", "node", "scripts")

    def __init__(self, commands: Callable[[str], Commands], names: Names, scripts: Scripts, node: str) -> None:
        """``commands`` returns the commands to the Redis that has a tenant's keys. ``node`` is the incarnation of this process."""
        self._commands = commands
        self.names = names
        self.scripts = scripts
        self.node = node

    def commands(self, tenant: str) -> Commands:
        """The commands to the Redis that has a tenant's keys."""
        return self._commands(tenant)
