"""An interaction in the staging area of its medium: it enters when it starts, an agent gets it, it is deleted when it is over."""

from __future__ import annotations

from channels.statistics.engine.centre import Centre, medium_name
from channels.statistics.engine.definition import ACTION
from channels.statistics.engine.objects import Interaction
from channels.statistics.engine.vocabulary import INTERACTION_WAIT


class AreaRules:
    """The moves that other rules make there; times are milliseconds since 1970. What a medium is called there is its area's id."""

    __slots__ = ("_centre",)

    def __init__(self, centre: Centre) -> None:
        self._centre = centre

    def enter(self, interaction: Interaction, media: str, at_ms: int) -> None:
        """Starts, and waits for its first agent unless it has one. One that entered before does nothing.

        Finishing without having started enters too, so that no more can be deleted than entered.
        """
        if interaction.area is not None:
            return
        area = self._centre.area(media, at_ms)
        interaction.area = medium_name(media)
        interaction.entered_s = at_ms // 1000
        area.occur("InteractionEntered", interaction.area, at_ms)
        if not interaction.parties:
            area.waiting[interaction.id] = area.begin((ACTION, INTERACTION_WAIT, interaction.area), at_ms)

    def _leave(self, interaction: Interaction, at_ms: int) -> int | None:
        """Wait no longer; returns for how many seconds it did, or None when it did not wait."""
        if interaction.area is None:
            return None
        area = self._centre.areas[interaction.area]
        span = area.waiting.pop(interaction.id, None)
        return None if span is None else area.end(span, max(at_ms, span.start_ms))

    def distributed(self, interaction: Interaction, at_ms: int) -> None:
        """An agent has it: the first one is who it waited for."""
        waited_s = self._leave(interaction, at_ms)
        if waited_s is not None:
            assert interaction.area is not None
            self._centre.areas[interaction.area].occur("InteractionDistributed", interaction.area, at_ms, waited_s)

    def deleted(self, interaction: Interaction, at_ms: int) -> None:
        """End its stay: the action has the time it was in the area, from start to end."""
        self._leave(interaction, at_ms)
        if interaction.area is not None:
            lasted_s = max(0, at_ms // 1000 - interaction.entered_s)
            self._centre.areas[interaction.area].occur("InteractionDeleted", interaction.area, at_ms, lasted_s)
