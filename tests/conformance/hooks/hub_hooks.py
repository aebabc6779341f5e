"""The hooks of the conformance suite for the hub: ``hub serve --open --extensions tests.conformance.hooks.hub_hooks:Hooks``.

The hook "denied" needs nothing: the hub refuses the token "bad" as every token that it never gave out.
"""

from __future__ import annotations

from typing import Any

from hub.bayeux.extensions import Extension, ExtensionMessage
from hub.bayeux.server import BayeuxServer
from hub.bayeux.services import RemoteCallError, ServiceMessage
from hub.bayeux.session import ServerSession

SERVICES = "/service/conformance/"
VETOED = "/conformance/vetoed"


class Hooks(Extension):
    """Delivers, disconnects, answers calls and refuses, each on a channel of its own."""

    def started(self, bayeux: BayeuxServer) -> None:
        """Listen on the service channels."""
        services = bayeux.services
        services.listen(SERVICES + "echo", self.echo)
        services.listen(SERVICES + "kick", self.kick)
        services.listen(SERVICES + "deliver-kick", self.deliver_and_kick)
        services.remote("conformance/call", self.call)

    async def echo(self, session: ServerSession, message: ServiceMessage) -> None:
        """Deliver the same data to the session that sent it."""
        session.deliver(message.channel, message.data)

    async def kick(self, session: ServerSession, message: ServiceMessage) -> None:
        """Disconnect the session that asks for it."""
        session.disconnect()

    async def deliver_and_kick(self, session: ServerSession, message: ServiceMessage) -> None:
        """Deliver one last message, then disconnect."""
        session.deliver(message.channel, {"last": True})
        session.disconnect()

    async def call(self, session: ServerSession, data: Any) -> Any:
        """Succeed or fail with the value given."""
        if data["fail"]:
            raise RemoteCallError(data["value"])
        return data["value"]

    def incoming(self, session: ServerSession | None, message: ExtensionMessage) -> bool:
        """Refuse what is published on one channel."""
        return message.channel != VETOED
