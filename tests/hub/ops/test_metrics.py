from dataclasses import dataclass, field
from typing import Any, ClassVar

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hub import __version__
from hub.core.metric import CounterFamily, Histogram
from hub.ops.metrics import Metrics


@dataclass(slots=True)
class Counted:
    METRICS: ClassVar = (CounterFamily("events", "Events, by outcome.", "outcome", {"taken": "taken", "late": "too_late"}),)

    accepted: int = 0
    """Things that were
    ``accepted``.
    """
    refused: dict[str, int] = field(default_factory=dict)
    """Things that were refused."""
    name: str = "no number"
    taken: int = 0
    late: int = 0


@dataclass(slots=True)
class Undescribed:
    accepted: int = 0


@dataclass(slots=True)
class Mistaken:
    METRICS: ClassVar = (CounterFamily("events", "Events.", "outcome", {"lost": "lost"}),)


def samples(made: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    _, text = made.render()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_every_name_begins_with_hub_but_those_that_every_process_has() -> None:
    made = Metrics()
    made.observe_request("GET", "/livez", 200, 0.001)
    made.gauge("things", "Things.", lambda: 1)
    assert {name for name, _ in samples(made) if not name.startswith("hub_")} == {
        "process_cpu_seconds_total",
        "process_max_fds",
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "process_virtual_memory_bytes",
    }


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text; version=1.0.0"])
def test_nothing_tells_when_it_was_created(accept: str) -> None:
    made = Metrics()
    made.observe_request("GET", "/livez", 200, 0.001)
    made.counters("ingest", Counted())
    made.histogram("wait_seconds", "Waits.", Histogram())
    assert b"_created" not in made.render(accept)[1]


def test_kinds_of_one_counter_are_a_label() -> None:
    made, counted = Metrics(), Counted(taken=3, late=1)
    made.counters("ingest", counted)
    found = samples(made)
    assert found["hub_ingest_events_total", (("outcome", "taken"),)] == 3
    assert found["hub_ingest_events_total", (("outcome", "too_late"),)] == 1
    assert not any(name.startswith(("hub_ingest_taken", "hub_ingest_late")) for name, _ in found)


def test_help_is_the_docstring_of_the_field() -> None:
    made = Metrics()
    made.counters("ingest", Counted())
    text = made.render()[1].decode()
    assert "# HELP hub_ingest_accepted_total Things that were `accepted`.\n" in text
    assert "# HELP hub_ingest_events_total Events, by outcome.\n" in text


def test_a_counter_without_help_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Undescribed\.accepted: expected a docstring below the field"):
        Metrics().counters("a", Undescribed())


def test_kinds_that_are_not_counted_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Mistaken\.METRICS: expected fields that count, got lost"):
        Metrics().counters("a", Mistaken())


def test_the_counters_of_the_hub_itself_have_no_part() -> None:
    made = Metrics()
    made.counters("", Counted())
    assert ("hub_accepted_total", ()) in samples(made)


def test_a_name_is_taken_once() -> None:
    made = Metrics()
    made.counters("a", Counted())
    with pytest.raises(ValueError, match="the metric hub_a_accepted is registered twice"):
        made.count("a_accepted", "Again.", lambda: 0)


def test_what_only_rises_is_a_counter() -> None:
    made = Metrics()
    made.count("calls_failed", "Calls.", lambda: 4)
    assert samples(made)["hub_calls_failed_total", ()] == 4
    assert "# TYPE hub_calls_failed_total counter" in made.render()[1].decode()


def test_histograms_are_cumulative_and_have_a_label() -> None:
    made, few, many = Metrics(), Histogram((0.1, 1.0)), Histogram((0.1, 1.0))
    made.histogram("latency_seconds", "Latency.", {"few": few, "many": many}, "fan_out")
    few.observe(0.05, 3)
    few.observe(1.0)
    few.observe(7.0)
    few.observe(-1.0)
    found = samples(made)
    buckets = [found["hub_latency_seconds_bucket", (("fan_out", "few"), ("le", bound))] for bound in ("0.1", "1.0", "+Inf")]
    assert buckets == [4, 5, 6]
    assert found["hub_latency_seconds_count", (("fan_out", "few"),)] == few.count == 6
    assert found["hub_latency_seconds_sum", (("fan_out", "few"),)] == pytest.approx(8.15)
    assert found["hub_latency_seconds_count", (("fan_out", "many"),)] == 0


def test_counters_are_read_at_each_scrape() -> None:
    made, counted = Metrics(), Counted()
    made.counters("ingest", counted)
    assert samples(made)["hub_ingest_accepted_total", ()] == 0
    counted.accepted = 5
    counted.refused["late"] = 2
    found = samples(made)
    assert found["hub_ingest_accepted_total", ()] == 5
    assert found["hub_ingest_refused_total", (("kind", "late"),)] == 2
    assert not any("name" in name for name, _ in found)


def test_a_part_is_counted_once() -> None:
    made = Metrics()
    made.counters("a", Counted())
    with pytest.raises(ValueError, match="the counters of a are registered twice"):
        made.counters("a", Counted())


def test_gauges_are_asked_at_each_scrape_and_have_one_prefix() -> None:
    made, value = Metrics(), [1.0]
    made.gauge("sessions", "Sessions.", lambda: value[0])
    made.gauge("hub_topics", "Topics.", lambda: 7)
    value[0] = 3
    found = samples(made)
    assert (found["hub_sessions", ()], found["hub_topics", ()]) == (3, 7)


def test_what_runs_and_the_process_are_told() -> None:
    found = samples(Metrics())
    assert any(name == "hub_build_info" and ("version", __version__) in labels for name, labels in found)
    assert found["process_resident_memory_bytes", ()] > 0


def test_an_unknown_method_has_a_label_in_common() -> None:
    made = Metrics()
    for method in ("BREW", "X" * 50, "GET"):
        made.observe_request(method, "/x", 200, 0.001)
    methods = {dict(labels)["method"] for name, labels in samples(made) if name.startswith("hub_http_request") and "method" in dict(labels)}
    assert methods == {"other", "GET"}


def test_the_form_follows_accept() -> None:
    content_type, text = Metrics().render("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")


@pytest.mark.parametrize(
    ("method", "path", "status", "has_body"),
    [("GET", "/metrics", 200, True), ("HEAD", "/metrics", 200, False), ("GET", "/", 404, True), ("POST", "/metrics", 404, True)],
)
async def test_the_port_of_its_own_serves_metrics_alone(method: str, path: str, status: int, has_body: bool) -> None:
    transport = httpx.ASGITransport(Metrics().app())
    async with httpx.AsyncClient(transport=transport, base_url="http://hub.test") as client:
        answer = await client.request(method, path, headers={"Accept": "text/plain"})
    assert (answer.status_code, bool(answer.content)) == (status, has_body)


async def test_the_port_of_its_own_has_no_life_span_and_no_web_sockets() -> None:
    async def nothing(*_: Any) -> Any:
        raise AssertionError("there is nothing to hear or say")

    await Metrics().app()({"type": "lifespan"}, nothing, nothing)
