"""Parameters and answers of the presence calls (``/api/v1/channels``, ``/api/v1/sessions``)."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, Field

from hub.http.schemas import Status

MAX_ENTRIES: int = 1000
"""Entries of one page."""

Door = Literal["websocket", "long-polling", "callback-polling", "ws", "sse"]
"""How a client is connected: by one of Bayeux's connection types, by ``/ws``, or by ``/events``."""

Limit = Annotated[int, Query(ge=1, le=MAX_ENTRIES, description="Entries of a page.")]
Cursor = Annotated[
    str | None, Query(description="Where to go on: `data.cursor` of the page before. It has no meaning of its own.", max_length=300)
]


class ChannelEntry(BaseModel):
    """A channel or pattern that somebody subscribed to."""

    channel: str = Field(description="The name that was subscribed to.", examples=["/orders/**"])
    sessions: int = Field(description="Sessions that subscribed to it by that very name.", examples=[3])


class Channels(BaseModel):
    """A page of channels, in the order of their names."""

    channels: list[ChannelEntry]
    cursor: str | None = Field(default=None, description="Where the next page begins; missing on the last one.")


class Session(BaseModel):
    """A session: one client that is connected, or that is about to come back."""

    id: str = Field(description="Names the session. It is not its clientId: nobody can act as the client with it.")
    door: Door = Field(description="Bayeux' connection type, `ws`, or `sse` for event streams.")
    subject: str = Field(description="The user or name of a token, or `key:` and the name of an API key.", examples=["ana"])
    roles: list[str] = Field(examples=[["supervisor"]])
    login: str = Field(description="A hash: equal for sessions of one login.")
    connectedAt: int = Field(description="When it began, in milliseconds since 1970.", examples=[1767225600000])
    subscriptions: int = Field(description="How many channels and patterns it subscribed to.")
    queuedBytes: int = Field(description="Bytes that wait for the client, or for its acknowledgement.")
    dropped: int = Field(description="Events that it was not sent, because its queue was full.")


class SessionDetail(Session):
    """A session, and what it subscribed to."""

    channels: list[str] = Field(description="The channels and patterns, in the order in which they were subscribed to.")


class Sessions(BaseModel):
    """A page of sessions: node by node, and of each in the order in which they came."""

    sessions: list[Session]
    cursor: str | None = Field(default=None, description="Where the next page begins; missing on the last one.")


class Channel(BaseModel):
    """A channel, and a page of the sessions that subscribed to it."""

    channel: str
    count: int = Field(description="Sessions that subscribed to it by that very name.")
    sessions: list[Session]
    cursor: str | None = Field(default=None, description="Where the next page begins; missing on the last one.")


class Disconnected(BaseModel):
    """What was sent away."""

    disconnected: int = Field(description="How many sessions.", examples=[1])


class MissingStatus(Status):
    """Which node did not answer: what it has is missing."""

    message: str
    detail: dict[str, str] = Field(description="`node`: the incarnation of the node.", examples=[{"node": "7d20c9f1a34e"}])


class MissingNode(BaseModel):
    """A node that did not answer in time."""

    status: MissingStatus


class Surveyed(BaseModel):
    """An envelope of what all nodes answered. If some did not, `status.code` is 2."""

    status: Status
    errors: list[MissingNode] | None = Field(default=None, description="The nodes that did not answer in time; missing if all did.")


class ChannelsAnswer(Surveyed):
    """Envelope of a page of channels."""

    data: Channels


class ChannelAnswer(Surveyed):
    """Envelope of a channel."""

    data: Channel


class SessionsAnswer(Surveyed):
    """Envelope of a page of sessions."""

    data: Sessions


class SessionAnswer(BaseModel):
    """Envelope of a session."""

    status: Status
    data: SessionDetail


class DisconnectedAnswer(Surveyed):
    """Envelope of what was sent away."""

    data: Disconnected
