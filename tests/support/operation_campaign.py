"""Generated requests to each operation of the OpenAPI document, and what the answers are held against."""

from __future__ import annotations

from typing import Any, Final

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.hub_process import HubProcess

CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

WITHIN_S: Final = 60
"""How long an answer may take on a machine that does much else."""


def operations_of(hub: HubProcess) -> dict[str, Any]:
    """The operations of a hub's document, by method and path."""
    schema = schemathesis.openapi.from_url(f"{hub.url}/openapi.json", headers=hub.headers)
    return {operation.label: operation for operation in (result.ok() for result in schema.get_all_operations())}


def campaign(hub: HubProcess, session: requests.Session, operation: Any, examples: int, *, repeatable: bool) -> None:
    """Call an operation ``examples`` times.

    Raises:
        FailureGroup: an answer is not as the document says.
    """

    # a fault is not shrunk: the hub has changed by then, may answer otherwise, and Hypothesis would tell of that instead of the fault
    phases = [Phase.explicit, Phase.generate]
    checks = list(HealthCheck)

    @settings(max_examples=examples, deadline=None, derandomize=repeatable, database=None, suppress_health_check=checks, phases=phases)
    @given(case=operation.as_strategy())
    def call(case: schemathesis.Case) -> None:
        case.call_and_validate(base_url=hub.url, session=session, headers=hub.headers, checks=CHECKS, timeout=WITHIN_S)

    call()
