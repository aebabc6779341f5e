"""The parent of :mod:`tests.hub.workers.small_worker`: ``python -m tests.hub.workers.small_parent PORT WORKERS SETTINGS-AS-JSON``."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from hub.ops.logging import set_up
from hub.ops.settings import Settings
from hub.transports.listener import StartError
from hub.workers import steering
from hub.workers.parent import Parent
from hub.workers.place import GaveUpError

if "SMALL_PARENT_DOES_NOT_STEER" in os.environ:  # as on a system that does not let it
    steering._ATTACH = 9999  # type: ignore[misc]


async def _main() -> None:
    port, workers, more = sys.argv[1:]
    settings = Settings(**{"port": int(port), "workers": int(workers), "data_dir": Path("data"), **json.loads(more)})
    command = [sys.executable, "-m", "tests.hub.workers.small_worker"]
    await Parent(settings, command, lambda at: print(f"ready {at}", flush=True)).run()


set_up(format="json")
try:
    asyncio.run(_main())
except GaveUpError as error:
    print(f"gave up: {error}", flush=True)
    raise SystemExit(1) from None
except (StartError, OSError) as error:
    print(f"not started: {error}", flush=True)
    raise SystemExit(2) from None
