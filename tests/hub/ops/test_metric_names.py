"""The metrics of a whole hub: what their names, types and HELP texts say, and whether the documents speak of those that there are."""

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hub.ops.metrics import Described
from hub.storage.upgrade_copy_postgresql import SCHEMA
from hub.workers.metrics import UP
from tests.support.hub_process import HubProcess
from tools.reference import metrics

DOCS = Path(__file__).parents[3] / "docs"
PAGES = [*sorted(DOCS.glob("*.md")), DOCS.parent / "README.md"]
NAMED = re.compile(r"`((?:hub|process)_[a-z0-9_]+)(?:\{([a-z_]+)=\"([a-z0-9_]+)\"\})?`")
"""A metric in the text of a page, perhaps with one label."""

NO_METRICS = {SCHEMA}
"""Names in the text of pages that look like metrics and are none."""

ADDED = {UP}
"""Metrics that a worker adds to the answer of all workers: no single hub has them."""

HISTOGRAM_SERIES = ("_bucket", "_sum", "_count")


@pytest.fixture(scope="module")
def described() -> list[Described]:
    return metrics()


def test_no_name_repeats_the_prefix(described: list[Described]) -> None:
    assert [each.name for each in described if not re.match(r"(hub|process)_(?!hub_|process_)[a-z0-9_]+$", each.name)] == []


def test_no_two_metrics_have_one_name(described: list[Described]) -> None:
    assert len({each.name for each in described}) == len(described)


def test_what_only_rises_is_a_counter_and_nothing_else_is_named_so(described: list[Described]) -> None:
    assert [each.name for each in described if each.name.endswith("_total") != (each.type == "counter")] == []


def test_help_says_more_than_the_name(described: list[Described]) -> None:
    def is_the_name(each: Described) -> bool:
        return set(re.findall(r"[a-z]+", each.help.lower())) <= set(each.name.split("_"))

    assert [each.name for each in described if is_the_name(each) or len(each.help.split()) < 3 or not each.help.endswith(".")] == []


def test_how_long_deliveries_take_is_a_histogram(described: list[Described]) -> None:
    types = {each.name: each.type for each in described}
    assert types["hub_delivery_latency_seconds"] == types["hub_outbox_delivery_latency_seconds"] == "histogram"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_documents_name_metrics_that_there_are(page: Path, described: list[Described]) -> None:
    known = {each.name: each for each in described}
    wrong = []
    for name, label, value in NAMED.findall(page.read_text(encoding="utf-8")):
        if name in NO_METRICS | ADDED:
            continue
        metric = known.get(name) or next(
            (known.get(name.removesuffix(suffix)) for suffix in HISTOGRAM_SERIES if name.endswith(suffix)), None
        )
        if metric is None or (label and value not in metric.labels.get(label, ())):
            wrong.append((name, label, value))
    assert wrong == []


def test_prometheus_reads_all_of_it(demo_hub: HubProcess) -> None:
    text = demo_hub.get("/metrics").text
    families = list(text_string_to_metric_families(text))
    # a family without HELP or TYPE is one that the parser had to make up from a sample
    assert [family.name for family in families if family.type == "unknown" or not family.documentation] == []
    assert len({family.name for family in families}) == len(families)
    assert text.count("# HELP ") == text.count("# TYPE ") == len(families)


def test_a_hub_shows_all_that_the_reference_has(demo_hub: HubProcess, described: list[Described]) -> None:
    """But for what only a hub with presence channels, one of several nodes over Redis, or one of several workers, has to show."""
    shown = {family.name.removesuffix("_info") for family in text_string_to_metric_families(demo_hub.get("/metrics").text)}
    optional = re.compile(
        "hub_(presence|redis|nodes|links|relay|worker|ownership|event_import|stat_requests|ingest_relayed|statistics_tenants_followed)"
    )
    assert {each.name.removesuffix("_total").removesuffix("_info") for each in described if not optional.match(each.name)} <= shown
