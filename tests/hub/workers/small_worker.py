"""A worker of a few lines: it starts quickly, and serves as the hub's own workers do.

``GET /`` says who answers, ``GET /hang`` stops the event loop, ``GET /slow`` makes a file ``asked`` and answers when there is a file
``answer``. A file ``code.json`` in the current folder is its "new code": what it
answers, how it fails, which workers do not serve before a file ``go`` is there, and whether it drains until ``drained`` is
there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

code = json.loads(Path("code.json").read_text()) if Path("code.json").exists() else {}
if "exit" in code:
    sys.exit(code["exit"])  # before the imports, which take most of the time of a start

import asyncio  # noqa: E402
import faulthandler  # noqa: E402
import os  # noqa: E402
import time  # noqa: E402
from typing import Any  # noqa: E402

from hub.transports.orders import Orders  # noqa: E402
from hub.transports.runtime import run  # noqa: E402
from hub.transports.server import serve  # noqa: E402
from hub.workers.line import Failed, WorkerLine, say  # noqa: E402
from hub.workers.seat import Seat, take_seat  # noqa: E402


class App:
    """Answers everything with its pid, its place, its life and the text of its code."""

    def __init__(self, seat: Seat, text: str) -> None:
        self.seat = seat
        self.text = text

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for step in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{step}.complete"})
            return
        if scope["path"] == "/hang":
            time.sleep(600)
        if scope["path"] == "/slow":
            Path("asked").touch()
            while not Path("answer").exists():
                await asyncio.sleep(0.02)
        body = json.dumps({"pid": os.getpid(), "worker": self.seat.index, "life": self.seat.life, "text": self.text}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})


async def _work(seat: Seat) -> None:
    orders = Orders(insist=False)
    line = WorkerLine(seat.open_line(), orders, 0.1)
    line.start()
    listener, metrics = seat.sockets()
    app = App(seat, code.get("text", ""))
    drain_s = float(code.get("drain_s", 0))

    async def drain() -> None:
        await asyncio.sleep(drain_s)
        while code.get("drains") and not Path("drained").exists():
            await asyncio.sleep(0.02)

    await serve(
        app,
        host="",
        port=0,
        listener=listener,
        metrics_app=app,
        metrics_listener=metrics,
        on_ready=lambda port: line.ready(port, code.get("fixed", {})),
        drain=drain,
        drain_seconds=30,
        orders=orders,
        settle_s=0.2,
    )
    await line.stop()


def main() -> None:
    """Serve, or fail as the code says."""
    faulthandler.enable()
    seat = take_seat()
    assert seat is not None
    if "reason" in code and seat.index in code.get("fails", [0, 1]):
        say(seat.open_line(), Failed(code["reason"]))
        raise SystemExit(2)
    while seat.index in code.get("wait", []) and not Path("go").exists():
        time.sleep(0.02)
    run(_work(seat))


main()
