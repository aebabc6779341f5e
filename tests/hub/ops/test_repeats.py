"""Errors that repeat are logged once, then counted."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from hub.ops import repeats as module
from hub.ops.logging import set_up
from hub.ops.repeats import Kind, RepeatedErrors, Repeats

log = structlog.get_logger("hub.x")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def fail(number: int) -> None:
    try:
        raise ValueError(f"text number {number}")
    except ValueError:
        log.exception("it failed", number=number)


async def test_one_traceback_and_a_count(out: io.StringIO) -> None:
    repeats = Repeats(60)
    set_up("info", "json", out, repeats)
    for number in range(1000):
        fail(number)
    assert [(line["event"], line["number"]) for line in lines(out)] == [("it failed", 0)]
    assert "ValueError: text number 0" in lines(out)[0]["exception"]
    service = RepeatedErrors(repeats)
    await service.start()
    await service.stop()
    assert {key: lines(out)[1][key] for key in ("event", "error", "source", "exception", "times")} == {
        "event": "error_repeated",
        "error": "it failed",
        "source": "hub.x",
        "exception": "ValueError",
        "times": 999,
    }


def test_what_other_libraries_log_is_counted_too(out: io.StringIO) -> None:
    repeats = Repeats(60)
    set_up("info", "json", out, repeats)
    for _ in range(3):
        try:
            raise OSError("gone")
        except OSError:
            logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
    assert len(lines(out)) == 1
    assert repeats.counted(everything=True)[0][1] == 2


def test_other_errors_and_other_places_are_logged(out: io.StringIO) -> None:
    set_up("info", "json", out, Repeats(60))
    fail(1)
    try:
        raise ValueError("elsewhere")
    except ValueError:
        log.exception("it failed")
    log.error("it failed")  # no exception: another error
    assert len(lines(out)) == 3


async def test_errors_without_an_exception_are_counted_too(out: io.StringIO) -> None:
    repeats = Repeats(60)
    set_up("info", "json", out, repeats)
    for number in range(100):
        log.error("database_in_trouble", database="hub.db", attempt=number, fault=f"text {number}", request_id=str(number))
        log.error("database_in_trouble", database="events.db", secret="of nobody")
        log.warning("it is late", attempt=number)
        logging.getLogger("uvicorn.error").error("no %s", number)
    heard = [line["event"] for line in lines(out)]
    assert {event: heard.count(event) for event in set(heard)} == {"database_in_trouble": 2, "it is late": 100, "no 0": 1}
    service = RepeatedErrors(repeats)
    for _ in range(2):  # the counts themselves are not held back
        await service.start()
        await service.stop()
        log.error("database_in_trouble", database="hub.db")
    told = [(line["error"], line.get("of"), line["times"]) for line in lines(out) if line["event"] == "error_repeated"]
    assert told[:3] == [
        ("database_in_trouble", {"database": "hub.db"}, 99),
        ("database_in_trouble", {"database": "events.db", "secret": "[hidden]"}, 99),
        ("no %s", None, 99),
    ]
    assert len(told) == 4


def test_an_error_that_ceased_is_logged_whole_when_it_comes_back() -> None:
    clock = Clock()
    repeats = Repeats(60, clock)
    kind = Kind("a", "b", "c", "d")
    assert [repeats.passes(kind) for _ in range(3)] == [True, False, False]
    assert repeats.counted() == []
    clock.now = 61
    assert repeats.counted() == [(kind, 2)]
    assert not repeats.passes(kind)  # it goes on: still counted
    clock.now = 122
    assert repeats.counted() == [(kind, 1)]
    clock.now = 183
    assert repeats.counted() == []
    assert repeats.passes(kind)


def test_zero_logs_each() -> None:
    repeats = Repeats(0)
    assert [repeats.passes(Kind("a", "b", "c", "d")) for _ in range(3)] == [True] * 3


def test_the_kinds_that_are_remembered_are_bounded() -> None:
    repeats = Repeats(60)
    for number in range(module.MAX_REMEMBERED + 5):
        repeats.passes(Kind("a", str(number), "c", "d"))
    assert len(repeats._seen) == module.MAX_REMEMBERED
