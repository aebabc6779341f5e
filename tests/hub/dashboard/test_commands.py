"""Commands, from the bytes of a frame to their fields."""

from __future__ import annotations

import json

import pytest

from hub.core.limits import Limits
from hub.dashboard.commands import read_commands

SMALL = Limits(max_message_bytes=100)


def text(size: int, of: str) -> str:
    """A command of ``size`` bytes of UTF-8, most of them ``of``."""
    width = len(of.encode())
    room = size - len('{"x":""}')
    return '{"x":"' + of * (room // width) + "-" * (room % width) + '"}'


@pytest.mark.parametrize("of", ["a", "é", "€", "😀"])
def test_the_size_is_that_of_the_bytes_as_they_came(of: str) -> None:
    commands = read_commands(f" [{text(100, of)},{{}} , {text(101, of)} ]\n".encode(), SMALL)
    assert [command.size for command in commands] == [100, 2, 101]


@pytest.mark.parametrize("of", ["a", "é"])
def test_one_command_without_an_array(of: str) -> None:
    (command,) = read_commands(f" {text(101, of)}\n".encode(), SMALL)
    assert command.size == 101


def test_a_frame_no_larger_than_a_command_may_be_has_no_sizes() -> None:
    (command,) = read_commands(text(100, "é").encode(), SMALL)
    assert len(json.dumps(json.loads(command.raw("x") or b""))) > 100
    assert command.size == 0


@pytest.mark.parametrize("beside", ["", "é"])
def test_half_a_character_harms_nothing(beside: str) -> None:
    payload = f'[{{"type":"ping","x":"{beside}\\ud83d"}},{text(101, "a")}]'.encode()
    ping, other = read_commands(payload, SMALL)
    assert ping.text("x") == f"{beside}\ufffd"
    assert [ping.size, other.size] == [len(payload) - 104, 101]
