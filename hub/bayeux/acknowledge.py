"""The ack extension: messages are kept until the client has acknowledged them (docs/protocol/bayeux.md#acknowledge)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from hub.core.message import Message


class Acknowledged:
    """The batches of one session. Each successful connect reply has a number, 1, 2, 3, ..., even when it carries no message. The next
    connect brings the last number that the client has seen. Messages that are not acknowledged by then are sent again, before newer ones.
    """

    __slots__ = ("_sent", "batch", "bytes")

    def __init__(self) -> None:
        self._sent: deque[tuple[int, Message]] = deque()
        self.batch = 0
        """The number of the last connect reply."""
        self.bytes = 0
        """Bytes of the kept messages, as they count against the session's queue."""

    def acknowledge(self, batch: int) -> None:
        """The client has seen all batches up to this one."""
        while self._sent and self._sent[0][0] <= batch:
            self.bytes -= self._sent.popleft()[1].size

    def send(self, messages: Iterable[Message]) -> list[Message]:
        """Give the next connect reply its number. Returns the messages that go with it: those that are not acknowledged, then
        ``messages``.
        """
        self.batch += 1
        for message in messages:
            self._sent.append((self.batch, message))
            self.bytes += message.size
        return [message for _, message in self._sent]

    def __len__(self) -> int:
        return len(self._sent)
