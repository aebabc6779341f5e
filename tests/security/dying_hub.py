"""The ``hub`` command whose process is killed as soon as a code or refresh token is redeemed in the database, before the answer."""

from __future__ import annotations

import os
import signal
from typing import Any

from channels.main import cli
from hub.security.grants_store import GrantsStore


def _dying(name: str) -> None:
    step = getattr(GrantsStore, name)

    async def redeemed(self: GrantsStore, *arguments: Any) -> None:
        await step(self, *arguments)  # returns behind the commit; who is refused redeems nothing
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(GrantsStore, name, redeemed)


if __name__ == "__main__":
    _dying("redeem_code")
    _dying("rotate")
    cli()
