"""Nothing that others chose makes a terminal do something."""

from __future__ import annotations

import io
import json
import re

import pytest
from rich.table import Table

from hub.ops.cli import print_json
from hub.terminal import Console, print_fields, print_rows
from hub.terminal_text import shown

OBEYED = ["\x1b[2J", "\x1b]0;title\x07", "a\rb", "\x08", "\x7f", "\x9b31m", "\x85", "\u202egnp.exe", "\u2066a\u2069", "\u200f", "\ud800"]


@pytest.mark.parametrize("text", OBEYED)
def test_a_terminal_gets_no_text_that_it_obeys(text: str) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system=None, width=80, highlight=False)
    table = Table(text)
    table.add_row(text)
    console.print(table, markup=False)
    console.print(text, markup=False)
    console.print(f"{text} in the midst", style="red", markup=False)
    found = out.getvalue()
    assert not set(found) & {each for each in text if not each.isprintable()}
    assert shown(text) in found


def test_what_can_be_shown_stays() -> None:
    text = "Ana Álvarez\tØ 東京 \U0001f600\nzwei"
    assert shown(text) == text


@pytest.mark.parametrize("text", [each for each in OBEYED if each != "\ud800"])
def test_json_has_the_same_value(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": text})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {"name": text}
    assert not set(printed) & {each for each in text if not each.isprintable()}


ID = "6e5dd6d8-8acd-40f7-a8b5-4f9b2f3ad7f1"
LONG = "arn:aws:connect:eu-central-1:000000000000:instance/8d5d5f7a-3f0e-5f44-b8be-4a1c6f9d1f3a/case/4712"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_table_in_a_terminal_keeps_what_other_commands_take_in_one_line_and_cuts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout", out := _Terminal())
    print_rows(("id", "status", "size", "created", "name"), [(ID, "PROCESSING", "20971520", "2026-12-01 03:00:00 UTC", "n" * 90)])
    printed = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())  # without what makes the head bold
    assert ID in printed
    assert max(map(len, printed.splitlines())) <= 80
    assert printed.count("n") >= 90


def test_a_field_in_a_terminal_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("sys.stdout", out := _Terminal())
    print_fields({"associatedResourceArn": LONG, "object": ""})
    assert LONG in "".join(out.getvalue().replace("associatedResourceArn", "").split())


def test_a_row_in_a_pipe_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(("id", "name"), [(ID, "n" * 400), ("short", LONG)])
    print_fields({"arn": LONG * 5})
    lines = capsys.readouterr().out.splitlines()
    assert [any(text in line for line in lines) for text in (ID, "n" * 400, LONG, LONG * 5)] == [True] * 4
