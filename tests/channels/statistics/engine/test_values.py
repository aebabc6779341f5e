"""Values: their form, and when one differs enough from another to be sent."""

from __future__ import annotations

import pytest

from channels.statistics.engine.values import Value, quotient, whole


def test_a_whole_number_has_no_float() -> None:
    assert whole(7).to_json(5) == {"intValue": 7, "stringValue": "7", "intervalLength": 0, "tag": -1, "timestamp": 5}


def test_a_fraction_has_text_and_float() -> None:
    value = quotient(200, 3).to_json(5)
    assert (value["intValue"], value["stringValue"], value["floatValue"]) == (67, "66.67", 200 / 3)


def test_a_state_is_part_of_the_value() -> None:
    assert Value(4, "WaitForNextCall", state_value={"agentId": "a"}).to_json(5)["stateValue"] == {"agentId": "a"}


@pytest.mark.parametrize(
    ("numerator", "denominator", "integer", "text", "exact"),
    [
        (0, 0, 0, "0", None),
        (5, 0, 0, "0", None),
        (6, 3, 2, "2", None),
        (15, 2, 8, "7.5", 7.5),
        (5, 2, 3, "2.5", 2.5),
        (1, 1000, 0, "0", 0.001),
    ],
)
def test_quotients_are_rounded_half_up(numerator: int, denominator: int, integer: int, text: str, exact: float | None) -> None:
    value = quotient(numerator, denominator)
    assert (value.int_value, value.string_value, value.float_value) == (integer, text, exact)


STATE = Value(4, "WaitForNextCall", state_value={"status": 4})


@pytest.mark.parametrize(
    ("new", "last", "insensitivity", "changed"),
    [
        (whole(5), whole(5), 0, True),
        (whole(5), None, 3, True),
        (whole(5), whole(5), 1, False),
        (whole(6), whole(5), 1, True),
        (whole(5), whole(6), 2, False),
        (whole(3), whole(5), 2, True),
        (quotient(101, 2), quotient(100, 2), 1, True),
        (quotient(101, 2), quotient(100, 2), 2, False),
        (quotient(50, 1), quotient(50, 1), 1, False),
        (quotient(1, 3), quotient(0, 1), 50, True),
        (STATE, Value(4, "WaitForNextCall", state_value={"status": 4}), 100, False),
        (STATE, Value(4, "WaitForNextCall", state_value={"status": 4, "time": 1}), 100, True),
        (STATE, STATE, 0, True),
    ],
)
def test_a_change_is_one_when_it_reaches_the_insensitivity(new: Value, last: Value | None, insensitivity: int, changed: bool) -> None:
    assert new.changed_from(last, insensitivity) is changed
