"""Times of relayed requests."""

from __future__ import annotations

from dataclasses import dataclass

from hub.cluster.settings import ClusterSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayTuning:
    """Those that an operator may want to change are settings (:class:`hub.ops.settings.ClusterSettings`)."""

    confirm_s: float = 5.0
    """Seconds that the owner of a session waits for the word that a relayed answer was written; then it takes the answer for lost."""
    patience_s: float = 5.0
    """Seconds that a relay waits for an answer beyond the time for which the owner may hold the request."""
    lapse_s: float = 4.5
    """Seconds after which a node that has ended is known to have ended, wherever it ran: its record lapses after 5 s."""
    look_s: float = 0.2
    """Seconds between two tries to find out whether a node has ended whose link broke."""
    ask_s: float = 1.0
    """Seconds that other nodes may take to say whether they know a cookie."""

    @classmethod
    def of(cls, settings: ClusterSettings) -> RelayTuning:
        """The times that follow from the settings."""
        return cls(
            confirm_s=settings.confirm_s,
            patience_s=settings.patience_s,
            lapse_s=settings.lapse_s + settings.beat_s,
            ask_s=settings.ask_s,
        )
