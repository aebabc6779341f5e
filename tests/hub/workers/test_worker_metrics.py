"""Metrics of several workers in one answer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from hub.ops.metrics import Metrics
from hub.workers.metrics import WorkerMetrics, merge
from hub.workers.seat import Seat

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def metrics(value: int) -> Metrics:
    """A process's metrics, with one that has labels and one that has none."""
    made = Metrics()
    made.gauge("sessions", "Sessions that are open.", lambda: value)
    made.observe_request("GET", "/a b{x}", 200, 0.5)
    return made


def series(text: str, name: str, openmetrics: bool = False) -> dict[str, float]:
    """The values of a metric by worker; those without a worker are not there."""
    families = (parse_openmetrics if openmetrics else parse)(text)
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return {sample.labels["worker"]: sample.value for sample in samples}


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_each_series_says_whose_it_is(accept: str) -> None:
    text = merge({index: metrics(value).render(accept)[1] for index, value in enumerate((3, 4))}).decode()
    assert series(text, "hub_sessions", bool(accept)) == {"0": 3, "1": 4}
    assert series(text, "hub_http_request_duration_seconds_count", bool(accept)) == {"0": 1, "1": 1}
    assert series(text, "hub_worker_up", bool(accept)) == {"0": 1, "1": 1}
    # all lines of a metric stand together, under one description
    assert text.count("# HELP hub_sessions ") == text.count("# TYPE hub_sessions ") == 1
    assert text.endswith("# EOF\n") == bool(accept)
    assert text.count("# EOF") == bool(accept)


def test_a_worker_that_did_not_answer_is_named() -> None:
    text = merge({0: metrics(3).render()[1], 1: None}).decode()
    assert series(text, "hub_worker_up") == {"0": 1, "1": 0}
    assert series(text, "hub_sessions") == {"0": 3}


Start = Callable[[int, int, int], WorkerMetrics]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Makes the part of a worker: its number, its life, its count of sessions."""
    started: list[WorkerMetrics] = []

    def make(index: int, life: int, value: int) -> WorkerMetrics:
        seat = Seat(index=index, count=2, life=life, listener=-1, metrics_listener=None, line=-1, folder=str(tmp_path))
        started.append(WorkerMetrics(seat, metrics(value).render, 0.2))
        return started[-1]

    yield make
    for each in started:
        await each.stop()


async def test_whoever_is_asked_asks_the_others(start: Start) -> None:
    first, second = start(0, 1, 3), start(1, 1, 4)
    await first.start()
    await second.start()
    for asked in (first, second):
        assert series((await asked.render())[1].decode(), "hub_sessions") == {"0": 3, "1": 4}
    content_type, text = await first.render(OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text")
    assert series(text.decode(), "hub_sessions", True) == {"0": 3, "1": 4}


async def test_a_successor_answers_in_place_of_the_one_before(start: Start) -> None:
    first, second, successor = start(0, 1, 3), start(1, 1, 4), start(1, 2, 5)
    for each in (first, second, successor):
        await each.start()
    await second.stop()
    assert series((await first.render())[1].decode(), "hub_sessions") == {"0": 3, "1": 5}


async def test_nobody_waits_for_a_worker_that_is_silent(start: Start, tmp_path: Path) -> None:
    first = start(0, 1, 3)
    await first.start()
    assert series((await first.render())[1].decode(), "hub_worker_up") == {"0": 1, "1": 0}

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        left.set()

    left = asyncio.Event()
    hangs = await asyncio.start_unix_server(say_nothing, tmp_path / "metrics-1.sock")
    assert series((await first.render())[1].decode(), "hub_worker_up") == {"0": 1, "1": 0}
    assert first.silent == 2
    await left.wait()  # it is not only not waited for, but left
    hangs.close()
    await hangs.wait_closed()
