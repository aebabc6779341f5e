"""The reference: a slow and simple model of the statistics, written from ``docs/statistics.md`` and not from the engine.

It keeps all intervals and moments that there ever were, and computes each value from their list.
"""

from __future__ import annotations

from channels.statistics.engine.definition import Category, Definition
from tests.channels.statistics.engine.history import History
from tests.channels.statistics.engine.history_parts import STATES, Interval, Moment


class Naive(History):
    """Values of a history."""

    def pieces(self, owner: tuple[str, str]) -> list[tuple[Interval, int, int | None, bool]]:
        """(interval, since when it counts, until when, whether it was completed there) of an agent, a queue, a staging area or a group."""
        if owner[0] in ("agent", "queue", "area"):
            return [(i, i.start, i.end, i.end is not None) for i in self.intervals if i.owner == owner]
        found = []
        for m in self.memberships:
            if m.group != owner:
                continue
            for i in self.intervals:
                if i.owner != m.member or (i.ended is not None and i.ended < m.number):
                    continue
                if m.left_number is not None and i.begun > m.left_number:
                    continue
                begin = max(i.start, m.joined)
                if m.left_number is not None and (i.ended is None or i.ended > m.left_number):
                    found.append((i, begin, m.left, False))
                else:
                    found.append((i, begin, i.end, i.end is not None))
        return found

    def said(self, owner: tuple[str, str]) -> list[Moment]:
        if owner[0] in ("agent", "queue", "area"):
            return [m for m in self.moments if m.owner == owner]
        return [
            moment
            for m in self.memberships
            if m.group == owner
            for moment in self.moments
            if moment.owner == m.member and moment.number >= m.number and (m.left_number is None or moment.number <= m.left_number)
            if moment.of is None or moment.of >= m.joined
        ]

    def value(self, definition: Definition, owner: tuple[str, str], now: int, since: int) -> float:
        def chosen(key: tuple[str, str, str], mask: frozenset[str]) -> bool:
            return key[0] == definition.kind and key[1] in mask and (definition.media is None or key[2] in definition.media)

        is_status = definition.kind != "action"

        def over(mask: frozenset[str]) -> list[tuple[int, int]]:
            """(duration, seconds in the window) of everything that ended or occurred in the window."""
            said = [m for m in self.said(owner) if chosen(m.key, mask) and m.at >= since and (m.of is None or m.of >= since)]
            found = [(m.lasted(since), m.lasted(since)) for m in said]
            for interval, begin, end, completed in self.pieces(owner):
                if end is None or not chosen(interval.key, mask) or end < since or (is_status and end in (since, begin)):
                    continue
                if not is_status and (not completed or (end == begin and interval.key[1] in STATES)):
                    continue
                found.append((end // 1000 - interval.start // 1000, max(0, end // 1000 - max(begin, since) // 1000)))
            return found

        def partly(mask: frozenset[str]) -> int:
            """Seconds in the window of actions that were left behind."""
            return sum(
                max(0, end // 1000 - max(begin, since) // 1000)
                for interval, begin, end, completed in self.pieces(owner)
                if end is not None and end >= since and not is_status and not completed and chosen(interval.key, mask)
            )

        def ongoing(mask: frozenset[str]) -> list[tuple[int, int]]:
            return [(i.start, begin) for i, begin, end, _ in self.pieces(owner) if end is None and chosen(i.key, mask)]

        def number(mask: frozenset[str]) -> int:
            return len(over(mask)) + (len(ongoing(mask)) if is_status else 0)

        def within(mask: frozenset[str]) -> int:
            running = sum(now // 1000 - max(begin, since) // 1000 for _, begin in ongoing(mask))
            return sum(time for _, time in over(mask)) + partly(mask) + running

        def total(mask: frozenset[str]) -> int:
            return within(mask) if is_status else sum(duration for duration, _ in over(mask))

        def in_range(mask: frozenset[str]) -> int:
            assert definition.time_range is not None
            return sum(1 for duration, _ in over(mask) if definition.time_range[0] <= duration < definition.time_range[1])

        main = definition.main_mask
        rel = definition.rel_mask or main
        match definition.category:
            case Category.CURRENT_NUMBER:
                return len(ongoing(main))
            case Category.CURRENT_TIME:
                return sum(now // 1000 - start // 1000 for start, _ in ongoing(main))
            case Category.CURRENT_MAX_TIME:
                return max((now // 1000 - start // 1000 for start, _ in ongoing(main)), default=0)
            case Category.TOTAL_NUMBER:
                return number(main)
            case Category.TOTAL_TIME:
                return total(main)
            case Category.TOTAL_ADJUSTED_TIME:
                return within(main)
            case Category.AVERAGE_TIME:
                return total(main) / number(rel) if number(rel) else 0
            case Category.TOTAL_NUMBER_IN_TIME_RANGE:
                return in_range(main)
            case Category.RELATIVE_NUMBER_PERCENTAGE:
                return 100 * in_range(main) / number(rel) if number(rel) else 0
        raise AssertionError(definition.category)
