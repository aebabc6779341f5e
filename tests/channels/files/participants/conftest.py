"""The calls of chats over each database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.channels.files.participants.support import Talk, talking
from tests.channels.files.support import World


@pytest.fixture
async def talk(world: World) -> AsyncIterator[Talk]:
    """On SQLite and on PostgreSQL."""
    async with talking(world) as made:
        yield made


@pytest.fixture
async def lightly(light: World) -> AsyncIterator[Talk]:
    """On SQLite alone."""
    async with talking(light) as made:
        yield made
