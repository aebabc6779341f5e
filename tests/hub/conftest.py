"""What all tests of the hub have that is not a contact centre's."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.conftest import QUIET_CENTRE


@pytest.fixture
def centre() -> Mapping[str, str]:
    return QUIET_CENTRE
