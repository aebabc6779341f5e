"""An extension of the hub, as its users write them: `hub serve --demo --extensions samples/extension.py:Desk`.

What it does: nobody publishes a text of more than 280 characters on /chat/**, what is published there says who wrote it, and pages may
call `whoami`. docs/extensions.md goes through it line by line.
"""

from typing import Any

from hub.bayeux.extensions import Extension, ExtensionMessage
from hub.bayeux.server import BayeuxServer
from hub.bayeux.session import ServerSession

LONGEST_TEXT = 280


class Desk(Extension):
    """Rules of a chat between desks."""

    def started(self, bayeux: BayeuxServer) -> None:
        """Serve a remote call beside looking at messages."""
        bayeux.services.remote("whoami", self.whoami)

    async def whoami(self, session: ServerSession, data: Any) -> dict[str, Any]:
        """What a page gets for `cometd.remoteCall("whoami", ...)`."""
        return {"tenant": session.principal.tenant, "subject": session.principal.subject, "asked": data}

    def incoming(self, session: ServerSession | None, message: ExtensionMessage) -> bool:
        """Look at chat messages alone; False refuses one."""
        if session is None or not message.channel.startswith("/chat/"):
            return True
        data = message.data
        if not isinstance(data, dict) or not isinstance(data.get("text"), str) or len(data["text"]) > LONGEST_TEXT:
            return False
        message.data = {**data, "from": session.principal.subject}
        return True
