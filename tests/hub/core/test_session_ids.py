"""The ids of sessions: who made them, and what of them may be shown."""

from __future__ import annotations

import pytest

from hub.core.session_ids import (
    INCARNATION_CHARACTERS,
    PUBLIC_ID_CHARACTERS,
    incarnation_of,
    new_client_id,
    new_incarnation,
    new_stream_id,
)


def test_a_client_id_names_the_process_that_made_it() -> None:
    incarnation = new_incarnation()
    client_id = new_client_id(incarnation)
    assert incarnation_of(client_id) == incarnation
    assert len(incarnation) == INCARNATION_CHARACTERS


def test_128_bits_of_a_client_id_are_not_shown() -> None:
    client_id = new_client_id(new_incarnation())
    assert len(client_id) - PUBLIC_ID_CHARACTERS == 32
    assert len({new_client_id("0123456789ab")[PUBLIC_ID_CHARACTERS:] for _ in range(100)}) == 100


def test_the_id_of_a_stream_is_public() -> None:
    identifier = new_stream_id("0123456789ab")
    assert identifier.startswith("0123456789ab")
    assert len(identifier) == PUBLIC_ID_CHARACTERS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0123456789ab",
        "0123456789ab" + "f" * 47,
        "0123456789ab" + "f" * 49,
        "0123456789AB" + "f" * 48,
        "0123456789ag" + "f" * 48,
        "é" * 60,
    ],
)
def test_another_text_names_no_process(text: str) -> None:
    assert incarnation_of(text) is None
