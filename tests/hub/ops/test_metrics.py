from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hub import __version__
from hub.ops.metrics import Metrics


@dataclass(slots=True)
class Counted:
    accepted: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    name: str = "no number"


def samples(made: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    _, text = made.render()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_every_name_begins_with_hub() -> None:
    made = Metrics()
    made.observe_request("GET", "/livez", 200, 0.001)
    made.gauge("things", "Things.", lambda: 1)
    assert {name for name, _ in samples(made) if not name.startswith("hub_")} == set()


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
    assert found["hub_process_resident_memory_bytes", ()] > 0


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
