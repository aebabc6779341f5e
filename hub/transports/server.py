"""Runs uvicorn: binds the ports, starts the servers, reports readiness, and on a signal drains before it closes the sockets."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import structlog
import uvicorn
from starlette.types import ASGIApp

from hub.core.limits import Limits
from hub.security.connections import LOOPBACK, Connections
from hub.transports.forwarded import Forwarded
from hub.transports.http_protocol import HttpCounters, HubConfig, HubHttpProtocol
from hub.transports.runtime import tuned_collector
from hub.transports.uvicorn_protocol import HubWebSocketProtocol

SHUTDOWN_SECONDS = 5
"""Seconds that uvicorn waits for connections and requests to end before it cancels them."""

BACKLOG = 4096
"""Connections that the operating system may queue: after a restart all clients reconnect at once. The system's own limit applies too."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_log = structlog.get_logger(__name__)


class StartError(RuntimeError):
    """The server could not start; the text says why."""


class HubServer(uvicorn.Server):
    """A uvicorn server that leaves signals to :func:`serve`, and fails with an exception rather than an exit.

    ``explain`` is called when the application did not start: its sentence replaces the traceback that uvicorn would log.
    """

    def __init__(self, config: uvicorn.Config, explain: Callable[[], str | None] = lambda: None) -> None:
        super().__init__(config)
        self._explain = explain

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        held: list[logging.LogRecord] = []

        def hold(record: logging.LogRecord) -> bool:
            held.append(record)
            return False

        logger = logging.getLogger("uvicorn.error")
        logger.addFilter(hold)
        try:
            await super().startup(sockets)
        except SystemExit:
            reason = self._explain()
            if reason is not None:
                held.clear()
            raise StartError(reason or "the application did not start; the log says why") from None
        finally:
            logger.removeFilter(hold)
            for record in held:
                logger.handle(record)


def bind(host: str, port: int) -> socket.socket:
    """Bind a TCP socket to a name or an IPv4 or IPv6 address. Port 0 takes any free one.

    Raises:
        StartError: the name is not known, or the address cannot be bound.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise StartError(f"cannot listen on host {host!r}, port {port}: {error.strerror or error}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        advice = "; stop what listens there, or choose another port (--port, HUB_PORT)" if error.errno == errno.EADDRINUSE else ""
        raise StartError(f"cannot listen on host {host!r}, port {port}: {error.strerror or error}{advice}") from error
    return listener


def configuration(
    app: ASGIApp, limits: Limits, *, lifespan: bool, counters: HttpCounters | None = None, connections: Connections | None = None
) -> uvicorn.Config:
    """The configuration with which uvicorn serves ``app``; with ``lifespan``, uvicorn also starts and stops it. ``counters`` count what the
    connections do, and ``connections`` limits their number. Without ``connections`` this server has its own limit, and trusts proxies on
    loopback.
    """
    connections = connections or Connections(limits, LOOPBACK)
    return HubConfig(
        Forwarded(app, connections),
        connections=connections,
        limits=limits,
        counters=counters or HttpCounters(),
        http=HubHttpProtocol,
        ws=HubWebSocketProtocol,
        ws_max_size=limits.max_request_bytes,
        ws_ping_interval=limits.heartbeat_s,
        ws_ping_timeout=limits.pong_timeout_ms / 1000 or None,
        ws_per_message_deflate=False,  # needs memory per connection, and its frames could not be shared
        lifespan="on" if lifespan else "off",
        interface="asgi3",
        server_header=False,
        proxy_headers=False,  # Forwarded does it
        headers=[("x-content-type-options", "nosniff")],  # in every answer of every application
        access_log=False,
        log_config=None,
        log_level="warning",  # at "info" uvicorn logs the query string of each WebSocket, which may hold a ticket
        timeout_keep_alive=limits.keep_alive_s,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        backlog=BACKLOG,
    )


async def serve(
    app: ASGIApp,
    *,
    host: str,
    port: int,
    metrics_app: ASGIApp | None = None,
    metrics_port: int | None = None,
    on_ready: Callable[[int], object],
    drain: Callable[[], Awaitable[None]],
    drain_seconds: float,
    on_bound: Callable[[int], object] = lambda _: None,
    limits: Limits | None = None,
    counters: HttpCounters | None = None,
    explain: Callable[[], str | None] = lambda: None,
    connections: Connections | None = None,
) -> None:
    """Serve ``app``, and ``metrics_app`` on its own port, until SIGTERM or SIGINT; returns when everything is closed.

    ``on_bound`` is called once with the real port, before the application starts; ``on_ready`` with the same port, when the application has
    started and both ports are open. After the first signal ``drain`` runs for at most ``drain_seconds``, then the remaining connections are
    closed (WebSockets with 1012); a second signal skips what is left of both steps. ``explain`` returns one sentence why the application
    did not start; if it returns None, the log has the traceback.
    Run it in the main thread, on uvloop (:func:`hub.transports.runtime.run`).

    Raises:
        StartError: a port cannot be bound, or the application's start-up failed.
    """
    limits = limits or Limits()
    listener = bind(host, port)
    on_bound(listener.getsockname()[1])
    main = configuration(app, limits, lifespan=True, counters=counters, connections=connections)
    servers = [(HubServer(main, explain), listener)]
    try:
        if metrics_app is not None and metrics_port is not None:
            servers.append((HubServer(configuration(metrics_app, limits, lifespan=False)), bind(host, metrics_port)))
        await _run(servers, lambda: on_ready(listener.getsockname()[1]), drain, drain_seconds)
    finally:
        for _, opened in servers:
            opened.close()


async def _run(
    servers: list[tuple[HubServer, socket.socket]],
    on_ready: Callable[[], object],
    drain: Callable[[], Awaitable[None]],
    drain_seconds: float,
) -> None:
    async with _signals() as signals:
        # this task waits for the first signal and then drains, so the servers run in tasks of their own
        runs = [asyncio.create_task(server.serve([listener])) for server, listener in servers]
        try:
            while not all(server.started for server, _ in servers):
                await asyncio.wait(runs, timeout=0.02, return_when=asyncio.FIRST_COMPLETED)
                for run in runs:
                    if run.done():
                        run.result()  # raises the error of the start
                        raise StartError("the server ended while it started")
            with tuned_collector():
                on_ready()
                await _until_signal(signals, runs)
                _log.info("draining", seconds=drain_seconds)
                await _drain(signals, servers, drain, drain_seconds)
        finally:
            for server, _ in servers:
                server.should_exit = True
            results = await _finish(signals, servers, runs)
    for result in results:
        if isinstance(result, Exception):
            raise result


@contextlib.asynccontextmanager
async def _signals() -> AsyncIterator[asyncio.Queue[signal.Signals]]:
    loop = asyncio.get_running_loop()
    received: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in _SIGNALS:
        loop.add_signal_handler(number, received.put_nowait, number)
    try:
        yield received
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


async def _until_signal(signals: asyncio.Queue[signal.Signals], runs: list[asyncio.Task[None]]) -> None:
    """Wait for a signal, or for a server that ends by itself."""
    waiting = asyncio.create_task(signals.get())
    try:
        await asyncio.wait([waiting, *runs], return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


async def _drain(
    signals: asyncio.Queue[signal.Signals],
    servers: list[tuple[HubServer, socket.socket]],
    drain: Callable[[], Awaitable[None]],
    drain_seconds: float,
) -> None:
    draining = asyncio.ensure_future(drain())
    again = asyncio.ensure_future(signals.get())
    waiting: list[asyncio.Future[Any]] = [draining, again]
    await asyncio.wait(waiting, timeout=drain_seconds, return_when=asyncio.FIRST_COMPLETED)
    if again.done():
        _log.warning("second_signal", effect="quits at once")
        for server, _ in servers:
            server.force_exit = True
    again.cancel()
    if not draining.done():
        draining.cancel()
        _log.warning("drain_unfinished", seconds=drain_seconds)
    # an error of the drain is logged, and the shutdown continues, so that the sockets are closed
    (error,) = await asyncio.gather(draining, return_exceptions=True)
    if isinstance(error, Exception):
        _log.error("drain_failed", exc_info=error)


async def _finish(
    signals: asyncio.Queue[signal.Signals], servers: list[tuple[HubServer, socket.socket]], runs: list[asyncio.Task[None]]
) -> list[BaseException | None]:
    """Wait for uvicorn's own shutdown, which has a time limit; a further signal ends it at once."""
    ending = asyncio.gather(*runs, return_exceptions=True)
    again = asyncio.ensure_future(signals.get())
    waiting: list[asyncio.Future[Any]] = [ending, again]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    if again.done():
        for server, _ in servers:
            server.force_exit = True
    again.cancel()
    return await ending
