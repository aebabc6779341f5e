"""Clients of a running hub: an asyncio Bayeux client, which works with any Bayeux server, and a producer of events.

::

    from hub.client import ALL, BayeuxClient

    async with BayeuxClient("http://localhost:8080", token="demo-token") as client:
        async with client.subscribe("/my/**") as messages:
            async for message in messages:
                print(message.channel, message.data)
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from hub.client.bayeux import BayeuxClient
    from hub.client.conversation import ALL, NEW, Message
    from hub.client.errors import (
        BayeuxError,
        ClosedError,
        ConnectionLostError,
        CredentialError,
        HandshakeDeniedError,
        NotSentError,
        OverflowedError,
        ProtocolError,
        PublishError,
        RefusedError,
        RemoteCallError,
        ReplayError,
        ServerDisconnectedError,
        SubscribeError,
    )
    from hub.client.session_manager import State
    from hub.client.subscription import Subscription

__all__ = [
    "ALL",
    "NEW",
    "BayeuxClient",
    "BayeuxError",
    "ClosedError",
    "ConnectionLostError",
    "CredentialError",
    "HandshakeDeniedError",
    "Message",
    "NotSentError",
    "OverflowedError",
    "ProtocolError",
    "PublishError",
    "RefusedError",
    "RemoteCallError",
    "ReplayError",
    "ServerDisconnectedError",
    "State",
    "SubscribeError",
    "Subscription",
]

_MODULES: Final = {
    "BayeuxClient": "bayeux",
    **dict.fromkeys(("ALL", "NEW", "Message"), "conversation"),
    "State": "session_manager",
    "Subscription": "subscription",
}
"""The module of each name that is not an error. It is imported at first use, so that a command loads only what it needs."""


def __getattr__(name: str) -> Any:
    """Import a name at its first use, so that a program which needs one module of this package does not load aiohttp."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)
    globals()[name] = found
    return found
