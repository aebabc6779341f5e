"""The registry of sessions."""

from __future__ import annotations

import pytest

from hub.core.errors import RefusedError, WireError
from hub.core.limits import Limits
from hub.core.message import Message
from tests.hub.core.harness import World


async def test_sessions_are_bounded() -> None:
    world = World(limits=Limits(max_sessions=1))
    world.session("1")
    with pytest.raises(RefusedError) as refused:
        world.session("2")
    assert refused.value.error is WireError.RATE_LIMITED


async def test_detaching_twice_does_no_harm() -> None:
    world = World()
    session = world.session()
    session.offer(Message("/a", b"1"))
    world.hub.sessions.detach(session)
    world.hub.sessions.detach(session)
    assert (world.hub.sessions.by_id, session.queued_bytes) == ({}, 0)
