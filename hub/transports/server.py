"""Runs uvicorn: binds the ports, starts the servers, reports readiness, and on a signal drains before it closes the sockets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, cast

import structlog
import uvicorn
from starlette.types import ASGIApp

from hub.core.arrivals import Arrivals
from hub.core.limits import Limits
from hub.http.error_table import ErrorTable
from hub.http.security_headers import SERVER_HEADERS, hsts
from hub.ops.tls import TlsSettings
from hub.security.connections import LOOPBACK, Connections
from hub.transports.forwarded import Forwarded
from hub.transports.http_config import HttpCounters, HubConfig
from hub.transports.http_protocol import HubHttpProtocol
from hub.transports.listener import BACKLOG, StartError, bind
from hub.transports.orders import Order, Orders
from hub.transports.runtime import tuned_collector
from hub.transports.uvicorn_protocol import HubWebSocketProtocol

SHUTDOWN_SECONDS = 5
"""Seconds that uvicorn waits for connections and requests to end before it cancels them."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_log = structlog.get_logger(__name__)


class HubServer(uvicorn.Server):
    """A uvicorn server that leaves signals to :func:`serve`, and fails with an exception rather than an exit.

    ``explain`` is called when the application did not start: its sentence replaces the traceback that uvicorn would log.
    """

    def __init__(self, config: uvicorn.Config, explain: Callable[[], str | None] = lambda: None) -> None:
        super().__init__(config)
        self._explain = explain

    def stop_accepting(self) -> None:
        """Close the listening sockets of this process; connections stay."""
        for each in getattr(self, "servers", ()):  # uvicorn sets it when it has started
            each.close()

    def close_answered(self) -> None:
        """From now on each answer ends its HTTP connection."""
        cast("HubConfig", self.config).stopping = True
        for each in list(self.server_state.connections):
            if isinstance(each, HubHttpProtocol):
                each.close_answered()

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


def configuration(
    app: ASGIApp,
    limits: Limits,
    *,
    lifespan: bool,
    counters: HttpCounters | None = None,
    connections: Connections | None = None,
    errors: ErrorTable | None = None,
    arrivals: Arrivals | None = None,
    tls: TlsSettings | None = None,
) -> uvicorn.Config:
    """The configuration with which uvicorn serves ``app``; with ``lifespan``, uvicorn also starts and stops it. ``counters`` count what the
    connections do, and ``connections`` limits their number. Without ``connections`` this server has its own limit, and trusts proxies on
    loopback. ``errors`` has the forms of refusals; ``arrivals`` says when WebSockets may begin. Without ``tls`` it speaks plain HTTP.
    """
    tls = tls or TlsSettings()
    connections = connections or Connections(limits, LOOPBACK)
    return HubConfig(
        Forwarded(app, connections, errors),
        connections=connections,
        errors=errors,
        arrivals=arrivals,
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
        headers=[(name.decode("ascii"), value.decode("ascii")) for name, value in (*SERVER_HEADERS, *hsts(tls.hsts_seconds))],
        ssl_certfile=tls.cert,
        ssl_keyfile=tls.key,
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
    listener: socket.socket | None = None,
    metrics_listener: socket.socket | None = None,
    on_ready: Callable[[int], object],
    drain: Callable[[], Awaitable[None]],
    drain_seconds: float,
    on_bound: Callable[[int], object] = lambda _: None,
    limits: Limits | None = None,
    counters: HttpCounters | None = None,
    explain: Callable[[], str | None] = lambda: None,
    connections: Connections | None = None,
    errors: ErrorTable | None = None,
    arrivals: Arrivals | None = None,
    orders: Orders | None = None,
    settle_s: float = 1.0,
    tls: TlsSettings | None = None,
) -> None:
    """Serve ``app``, with ``tls`` or without, and ``metrics_app`` on its own port, until SIGTERM or SIGINT; returns when all is closed.

    ``on_bound`` is called once with the real port, before the application starts; ``on_ready`` with the same port, when the application has
    started and both ports are open. After the first signal each answer ends its connection, and ``drain`` runs for at most
    ``drain_seconds``; then the remaining connections are closed (WebSockets with 1012). A second signal skips what is left of both steps.
    ``explain`` returns one sentence why the application did not start; if it returns None, the log has the traceback.
    Run it in the main thread, on uvloop (:func:`hub.transports.runtime.run`).

    A worker gets its bound sockets as ``listener`` and ``metrics_listener``, and further orders than signals as ``orders``. When it is
    replaced, it serves the connections that it has accepted for at least ``settle_s`` seconds: their requests may be on their way.

    Raises:
        StartError: a port cannot be bound, or the application's start-up failed.
    """
    limits = limits or Limits()
    listener = listener or bind(host, port)
    on_bound(listener.getsockname()[1])
    main = configuration(app, limits, lifespan=True, counters=counters, connections=connections, errors=errors, arrivals=arrivals, tls=tls)
    servers = [(HubServer(main, explain), listener)]
    try:
        if metrics_listener is None and metrics_port is not None:
            metrics_listener = bind(host, metrics_port)
        if metrics_app is not None and metrics_listener is not None:
            servers.append((HubServer(configuration(metrics_app, limits, lifespan=False)), metrics_listener))
        await _run(servers, orders or Orders(), lambda: on_ready(listener.getsockname()[1]), drain, drain_seconds, settle_s)
    finally:
        for _, opened in servers:
            opened.close()


async def _run(
    servers: list[tuple[HubServer, socket.socket]],
    orders: Orders,
    on_ready: Callable[[], object],
    drain: Callable[[], Awaitable[None]],
    drain_seconds: float,
    settle_s: float,
) -> None:
    with _signals(orders):
        # this task waits for the first order and then drains, so the servers run in tasks of their own
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
                order = await _until_order(orders, runs)
                _log.info("draining", seconds=drain_seconds)
                if order is Order.REPLACE:
                    for replaced, _ in servers:
                        replaced.stop_accepting()
                if order is Order.QUIT:
                    _quit(servers)
                else:
                    for stopping, _ in servers:
                        stopping.close_answered()
                    await _drain(orders, servers, drain, drain_seconds, settle_s if order is Order.REPLACE else 0)
        finally:
            for server, _ in servers:
                server.should_exit = True
            results = await _finish(orders, servers, runs)
    for result in results:
        if isinstance(result, Exception):
            raise result


@contextlib.contextmanager
def _signals(orders: Orders) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, orders.signalled)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


async def _until_order(orders: Orders, runs: list[asyncio.Task[None]]) -> Order:
    """Wait for an order, or for a server that ends by itself."""
    waiting = asyncio.create_task(orders.first())
    try:
        await asyncio.wait([waiting, *runs], return_when=asyncio.FIRST_COMPLETED)
        return waiting.result() if waiting.done() else Order.STOP
    finally:
        waiting.cancel()


def _quit(servers: list[tuple[HubServer, socket.socket]]) -> None:
    for server, _ in servers:
        server.force_exit = True


async def _drain(
    orders: Orders,
    servers: list[tuple[HubServer, socket.socket]],
    drain: Callable[[], Awaitable[None]],
    drain_seconds: float,
    settle_s: float,
) -> None:
    draining = asyncio.ensure_future(drain())
    again = asyncio.ensure_future(orders.quit())
    settled = asyncio.ensure_future(asyncio.sleep(settle_s))
    ended = asyncio.ensure_future(asyncio.wait([draining, settled]))
    await asyncio.wait([ended, again], timeout=max(drain_seconds, settle_s), return_when=asyncio.FIRST_COMPLETED)
    if again.done():
        _log.warning("second_signal", effect="quits at once")
        _quit(servers)
    for each in (again, settled, ended):
        each.cancel()
    if not draining.done():
        draining.cancel()
        _log.warning("drain_unfinished", seconds=drain_seconds)
    # an error of the drain is logged, and the shutdown continues, so that the sockets are closed
    (error,) = await asyncio.gather(draining, return_exceptions=True)
    if isinstance(error, Exception):
        _log.error("drain_failed", exc_info=error)


async def _finish(
    orders: Orders, servers: list[tuple[HubServer, socket.socket]], runs: list[asyncio.Task[None]]
) -> list[BaseException | None]:
    """Wait for uvicorn's own shutdown, which has a time limit; a further signal ends it at once."""
    ending = asyncio.gather(*runs, return_exceptions=True)
    again = asyncio.ensure_future(orders.quit())
    waiting: list[asyncio.Future[Any]] = [ending, again]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    if again.done():
        _quit(servers)
    again.cancel()
    return await ending
