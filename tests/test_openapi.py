"""Every path of the OpenAPI document, called with generated requests: no 5xx, and every answer is one that the document describes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.hub_process import HubProcess

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance, response_schema_conformance]
EXAMPLES = 15
LONG_EXAMPLES = 500


@pytest.fixture(scope="module")
def api_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """A hub of its own: generated requests leave much behind."""
    hub = HubProcess(tmp_path_factory.mktemp("openapi"), ("--demo",), {"HUB_SIMULATOR__AGENTS": "4", "HUB_LOG_LEVEL": "warning"})
    try:
        yield hub.start()
    finally:
        hub.close()


def campaign(hub: HubProcess, examples: int, *, repeatable: bool) -> list[str]:
    """Call every operation of the document ``examples`` times; returns what was wrong, an entry for each operation."""
    schema = schemathesis.openapi.from_url(f"{hub.url}/openapi.json", headers=hub.headers)
    faults = []
    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(max_examples=examples, deadline=None, derandomize=repeatable, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def call(case: schemathesis.Case) -> None:
            case.call_and_validate(base_url=hub.url, headers=hub.headers, checks=CHECKS, timeout=20)

        try:
            call()
        except (FailureGroup, Exception) as fault:
            faults.append(f"{operation.label}: {fault}")
    return faults


def test_every_operation(api_hub: HubProcess) -> None:
    faults = campaign(api_hub, EXAMPLES, repeatable=True)
    assert not faults, "\n\n".join(faults)


@pytest.mark.long
@pytest.mark.timeout(2 * 3600)
def test_every_operation_at_length(api_hub: HubProcess) -> None:
    faults = campaign(api_hub, LONG_EXAMPLES, repeatable=False)
    assert not faults, "\n\n".join(faults)
