"""What a participant connects with: the URL of a WebSocket, and the token of all other calls (docs/protocol/participants.md#tokens)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from starlette.types import Scope

from channels.events import format_time
from channels.files.participants.models import Participant
from channels.files.participants.service import ChatService
from channels.files.participants.tokens import Purpose, Tokens
from hub.core.field_error import FieldError
from hub.security.hosts import Hosts

PREFIX: Final = "/participant"

SOCKET_PATH: Final = f"{PREFIX}/ws"

WEBSOCKET: Final = "WEBSOCKET"
CREDENTIALS: Final = "CONNECTION_CREDENTIALS"
KINDS: Final = (WEBSOCKET, CREDENTIALS)
"""What can be asked for."""


def check_kinds(field: str, kinds: Sequence[str] | None) -> Sequence[str]:
    """What is asked for; ``field`` is what the error calls it.

    Raises:
        FieldError: it is nothing that chats have.
    """
    if kinds is not None and not set(kinds) <= set(KINDS):
        raise FieldError.of_value(field, f"{' or '.join(KINDS)} or both: chats have no other", list(kinds))
    return kinds or ()


class Connections:
    """Makes connections."""

    __slots__ = ("_chats", "_hosts", "_tokens")

    def __init__(self, chats: ChatService, tokens: Tokens, hosts: Hosts) -> None:
        self._chats = chats
        self._hosts = hosts
        self._tokens = tokens

    def participant_token(self, of: Participant) -> str:
        """The token to make connections with."""
        return self._token(Purpose.PARTICIPANT, of)[0]

    async def make(self, scope: Scope, of: Participant, kinds: Sequence[str], *, connect: bool = False) -> dict[str, Any]:
        """What was asked for, with the names of Amazon's API. Whoever gets the URL of a WebSocket is there from now on, and so is
        everybody with ``connect``.

        Raises:
            AccessDeniedError: the participant has left.
            StorageError: the database cannot be written.
        """
        answer: dict[str, Any] = {}
        if WEBSOCKET in kinds:
            base = self._hosts.base_url(scope).replace("http", "ws", 1)
            token, ends = self._token(Purpose.SOCKET, of)
            answer["Websocket"] = {"Url": f"{base}{SOCKET_PATH}?token={token}", "ConnectionExpiry": ends}
        if CREDENTIALS in kinds:
            token, ends = self._token(Purpose.CONNECTION, of)
            answer["ConnectionCredentials"] = {"ConnectionToken": token, "Expiry": ends}
        if WEBSOCKET in kinds or connect:
            await self._chats.connected(of)
        return answer

    def _token(self, purpose: Purpose, of: Participant) -> tuple[str, str]:
        """A token, and the text of the time at which it ends."""
        token, ends_ms = self._tokens.make(
            purpose,
            tenant=of.tenant,
            contact=of.contact,
            participant=of.id,
            role=of.role.value,
            made_ms=of.created_ms,
            admission=of.admission,
        )
        return token, format_time(ends_ms or 0)
