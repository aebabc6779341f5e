"""Values, as subscribers see them (docs/protocol/statistics.md#values)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Value:
    """The value of a statistic at one moment."""

    int_value: int
    """A count, whole seconds, a rounded average or percentage, a status code, or the number of agents of a group."""
    string_value: str
    """The same as text, with up to two decimals; the name of a status."""
    float_value: float | None = None
    """Only where the value is not whole."""
    state_value: dict[str, object] | None = None
    """Only for CurrentState. Shared between values: not to be changed."""
    relative: bool = False
    """An average or a percentage: its change is reckoned relative to what it was."""
    empty: bool = False
    """An average or a percentage of nothing: there was nothing to divide by, and the 0 says nothing."""

    def to_json(self, timestamp_ms: int) -> dict[str, object]:
        """The value in the form of docs/statistics-api.md; that it is empty stands beside it there, and not in it."""
        found: dict[str, object] = {"intValue": self.int_value, "stringValue": self.string_value}
        if self.float_value is not None:
            found["floatValue"] = self.float_value
        if self.state_value is not None:
            found["stateValue"] = self.state_value
        return found | {"intervalLength": 0, "tag": -1, "timestamp": timestamp_ms}

    def changed_from(self, other: Value | None, insensitivity: int) -> bool:
        """Whether a subscriber who saw ``other`` last should see this.

        Insensitivity 0: always. Counts and times: when they differ by at least ``insensitivity``. Averages and percentages: when they
        differ by at least ``insensitivity`` percent of what they were, and when one of the two is empty. States: when anything differs.
        """
        if insensitivity == 0 or other is None:
            return True
        if self.state_value is not None or other.state_value is not None:
            return self.state_value != other.state_value
        if self.empty is not other.empty:
            return True
        new, last = self._number, other._number
        if new == last:
            return False
        change = abs(new - last)
        return change * 100 >= insensitivity * abs(last) if self.relative else change >= insensitivity

    @property
    def _number(self) -> float:
        return self.int_value if self.float_value is None else self.float_value


def whole(number: int) -> Value:
    """A count or whole seconds."""
    return Value(number, str(number))


def quotient(numerator: int, denominator: int) -> Value:
    """An average or a percentage, 0 and empty when there is nothing to divide by."""
    if denominator == 0 or numerator % denominator == 0:
        number = numerator // denominator if denominator else 0
        return Value(number, str(number), relative=True, empty=not denominator)
    exact = numerator / denominator
    rounded = (2 * numerator + denominator) // (2 * denominator)  # half up
    return Value(rounded, f"{exact:.2f}".rstrip("0").rstrip("."), exact, relative=True)
