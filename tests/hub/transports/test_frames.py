"""Close reasons."""

import pytest

from hub.transports.frames import fit_reason


@pytest.mark.parametrize(
    ("reason", "fitted"), [("", ""), ("a" * 123, "a" * 123), ("a" * 124, "a" * 123), ("é" * 62, "é" * 61), ("\ud800", "?")]
)
def test_a_reason_fits_a_control_frame_and_is_never_cut_inside_a_character(reason: str, fitted: str) -> None:
    assert fit_reason(reason) == fitted
