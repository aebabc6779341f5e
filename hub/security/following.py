"""Has changes of credentials take effect in a running hub (docs/protocol/credentials.md#changes-of-credentials).

A node reads what has changed each second, and at once when a change is made on it or another node says that it made one. Where the database
does not answer, known callers go on for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from hub.background import BackgroundTask
from hub.security.decisions import Decisions
from hub.security.directory import Directory, Gone
from hub.security.tickets import Tickets

REFRESH_S: Final = 1.0
"""Seconds between two checks of the revision. Running nodes apply changes within 2 s
(docs/protocol/credentials.md#changes-of-credentials).
"""

REVOKED: Final = "/hub/revoked"
"""The word by which a node tells the others that it has made a change (:class:`hub.core.signals.Signals`)."""

GAP_S: Final = 0.05
"""Seconds between two readings at least: a flood of changes is read at once, and costs so many queries a second at most."""

_log = structlog.get_logger(__name__)


class Following:
    """Follows the database: what has ended there ends here."""

    __slots__ = (
        "_changed",
        "_decisions",
        "_directory",
        "_poll",
        "_refresh_s",
        "_tell",
        "_tickets",
        "_trouble",
        "_watch",
        "announce",
        "made",
        "on_revoked",
        "on_unverified",
    )

    def __init__(self, directory: Directory, decisions: Decisions, tickets: Tickets, *, refresh_s: float = REFRESH_S) -> None:
        self._directory = directory
        self._decisions = decisions
        self._tickets = tickets
        self._refresh_s = refresh_s
        self.announce: Callable[[], object] | None = None
        """Tells other nodes that something has changed; None where there are none."""
        self.on_revoked: list[Callable[[Gone], None]] = []
        """Called after credentials were removed, changed or expired, with a function that tells which principals are concerned."""
        self.on_unverified: list[Callable[[Gone], None]] = []
        """Called in the same way when the database has not answered for so long that nobody knows which credentials are good."""
        self._poll = BackgroundTask("hub.security.following")
        self._watch = BackgroundTask("hub.security.staleness")
        self._changed = asyncio.Event()
        self._tell = False
        self.made = 0
        """Changes that were made on this node."""
        self._trouble: str | None = None

    async def start(self) -> None:
        """Begin to apply changes of the database."""
        await self.refresh()
        self._poll.start(self._follow())
        self._watch.start(self._give_up())

    async def stop(self) -> None:
        """Stop applying changes."""
        await self._watch.stop()
        await self._poll.stop()

    async def refresh(self) -> None:
        """Look for credentials that changed or expired, and call the listeners."""
        generation = self._directory.grants_generation
        gone = await self._directory.refresh()
        if generation != self._directory.grants_generation:
            self._decisions.forget()
        if gone is None:
            return
        _call(self.on_revoked, gone)  # first: else the stream of a ticket would be closed as one that was replaced
        await self._tickets.revoke(gone)

    def made_change(self) -> None:
        """Look for changes at once, since one was made here, and tell the other nodes."""
        self.made += 1
        self._tell = self.announce is not None
        self._changed.set()

    def heard_of_change(self) -> None:
        """Look for changes at once, since another node says that it made one."""
        self._changed.set()

    async def readiness(self) -> str | None:
        """What is wrong with the database, for ``/readyz``; None if nothing is."""
        return self._trouble

    async def _follow(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._refresh_s):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()
            if self._tell and self.announce is not None:
                self._tell = False
                self.announce()
            try:
                await self.refresh()
            except Exception as error:  # callers in the cache are served until the database works again, or for `auth.max_stale_s`
                if self._trouble is None:
                    _log.exception("credentials cannot be refreshed")
                self._trouble = f"the database does not answer: {type(error).__name__}"
            else:
                if self._trouble is not None:
                    _log.info("credentials are refreshed again")
                self._trouble = None
            await asyncio.sleep(GAP_S)

    async def _give_up(self) -> None:
        """End what was opened with credentials of which nobody knows any more whether they are good. It is a task of its own, since a
        reading of the database may never return.
        """
        while True:
            await asyncio.sleep(self._refresh_s)
            unverified = self._directory.give_up_stale()
            if unverified is not None:
                _log.warning("sessions_unverified", setting="auth.max_stale_s", seconds=round(self._directory.stale_s))
                _call(self.on_unverified, unverified)


def _call(listeners: list[Callable[[Gone], None]], gone: Gone) -> None:
    for listener in listeners:
        try:
            listener(gone)
        except Exception:  # the other listeners must still be called, since they get no second call
            _log.exception("sessions of a revoked credential could not be ended")
