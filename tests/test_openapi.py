"""Every path of the OpenAPI document, called with generated requests: no 5xx, and every answer is one that the document describes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import HubFactory
from tests.support.hub_process import HubProcess

OPERATIONS = sorted(json.loads(Path(__file__).with_name("openapi_operations.json").read_text()))
"""A test for each, so that the processes of a run share them."""
OF_THE_WHOLE_HUB = ["POST /api/v1/stat-server/start", "POST /api/v1/stat-server/stop"]
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


@pytest.fixture(scope="module")
def operations(api_hub: HubProcess) -> dict[str, Any]:
    """The operations of the hub's document, by method and path."""
    # here: schemathesis takes 0.15 s and 12 MiB of each process that collects these tests, and few of them run one
    from tests.support.operation_campaign import operations_of

    return operations_of(api_hub)


def campaign(hub: HubProcess, session: requests.Session, operation: Any, examples: int, *, repeatable: bool) -> None:
    """Call an operation ``examples`` times, as :func:`tests.support.operation_campaign.campaign` does."""
    from tests.support import operation_campaign

    operation_campaign.campaign(hub, session, operation, examples, repeatable=repeatable)


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """Connections that are kept, and no look at the environment for proxies at each call."""
    with requests.Session() as session:
        session.trust_env = False
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # each call shows its own credential alone
        yield session


def test_every_operation_is_tried(operations: dict[str, Any]) -> None:
    assert sorted(operations) == OPERATIONS


@pytest.mark.parametrize("label", [label for label in OPERATIONS if label not in OF_THE_WHOLE_HUB])
def test_an_operation(api_hub: HubProcess, session: requests.Session, operations: dict[str, Any], label: str) -> None:
    campaign(api_hub, session, operations[label], EXAMPLES, repeatable=True)


@pytest.mark.parametrize("label", OF_THE_WHOLE_HUB)
def test_an_operation_that_others_feel(hub_process: HubFactory, session: requests.Session, operations: dict[str, Any], label: str) -> None:
    """On a hub of its own: until the statistics are there again, others are answered with 503, by chance."""
    campaign(hub_process(), session, operations[label], EXAMPLES, repeatable=True)


@pytest.mark.long
@pytest.mark.timeout(2 * 3600)
def test_every_operation_at_length(api_hub: HubProcess, session: requests.Session, operations: dict[str, Any]) -> None:
    faults = []
    for label in sorted(operations, key=OF_THE_WHOLE_HUB.__contains__):  # what others feel comes last
        try:
            campaign(api_hub, session, operations[label], LONG_EXAMPLES, repeatable=False)
        except (BaseExceptionGroup, Exception) as fault:  # a FailureGroup of schemathesis is no Exception
            faults.append(f"{label}: {fault}")
    assert not faults, "\n\n".join(faults)
