"""A state that is encoded in pieces is the same bytes as one that is encoded at once."""

from __future__ import annotations

import msgspec
import pytest

from channels.statistics.engine.pieces import encode_in_pieces


class State(msgspec.Struct, array_like=True):
    number: int
    some: list[list[int]]
    text: str | None = None
    more: dict[str, int] = {}


@pytest.mark.parametrize("count", [0, 1, 15, 16, 65_535, 65_536])
def test_the_bytes_are_the_same(count: int) -> None:
    state = State(7, [[n, -n] for n in range(count)], None if count % 2 else "ü", {"a": count})
    assert encode_in_pieces(state) == msgspec.msgpack.encode(state)


def test_a_struct_of_too_many_fields_is_refused() -> None:
    many = msgspec.defstruct("Many", [(f"f{n}", int, n) for n in range(16)], array_like=True)
    with pytest.raises(ValueError, match="at most 15 fields, got 16"):
        encode_in_pieces(many())
