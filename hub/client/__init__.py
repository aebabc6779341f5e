"""What talks to a running hub from outside: an asyncio Bayeux client for any server, and the producer of events.

::

    from hub.client import ALL, BayeuxClient

    async with BayeuxClient("http://localhost:8080", token="demo-token") as client:
        async with client.subscribe("/my/**") as messages:
            async for message in messages:
                print(message.channel, message.data)
"""

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
from hub.client.link import State
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
