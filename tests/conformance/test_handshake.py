"""/meta/handshake: what it must say, what it is answered, and what is beside it."""

from __future__ import annotations

from typing import Any

from tests.conformance.rules import rule


@rule("1.4.1", "the reply has channel, version 1.0, supportedConnectionTypes, a clientId and successful true")
async def test_success(new_client: Any) -> None:
    reply = await new_client().handshake()
    assert reply["channel"] == "/meta/handshake"
    assert reply["version"] == "1.0"
    assert reply["successful"] is True
    assert isinstance(reply["clientId"], str)
    assert isinstance(reply["supportedConnectionTypes"], list)
