"""Metrics for Prometheus. Every name begins with ``hub_``; labels are bounded: no channel, id or path of a client's ever is one."""

import platform
import time
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any, Final

from prometheus_client import CollectorRegistry, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub import __version__

_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The metrics of a process."""

    __slots__ = ("_parts", "_requests", "registry")

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._parts: dict[str, object] = {}
        self._requests = Histogram(
            "hub_http_request_duration_seconds",
            "Time to answer a REST request, by route template.",
            ("method", "route", "status"),
            registry=self.registry,
            buckets=_BUCKETS,
        )
        ProcessCollector(namespace="hub", registry=self.registry)
        self.registry.register(_Build())
        self.registry.register(_Parts(self._parts))

    def counters(self, part: str, source: object) -> None:
        """Show a part's counters: a dataclass whose every field is an int, or a dictionary of text to int with a bounded set of keys.

        Each becomes ``hub_<part>_<field>_total``; a dictionary's keys become the label ``kind``. The source is read at each scrape.

        Raises:
            ValueError: the part is there already.
        """
        if part in self._parts:
            raise ValueError(f"the counters of {part} are registered twice")
        self._parts[part] = source

    def gauge(self, name: str, help: str, fn: Callable[[], float]) -> None:
        """Show a value as ``hub_<name>``, a ``hub_`` of its own not doubled; ``fn`` is asked at each scrape.

        Raises:
            ValueError: the name is taken.
        """
        Gauge(f"hub_{name.removeprefix('hub_')}", help, registry=self.registry).set_function(fn)

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A REST request was answered."""
        self._requests.labels(method if method in _METHODS else "other", route, str(status)).observe(seconds)

    def render(self, accept: str = "") -> tuple[str, bytes]:
        """The content type and the text of ``/metrics``, in the form that an ``Accept`` header asks for."""
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self.registry)

    def app(self) -> ASGIApp:
        """An ASGI application that serves ``/metrics`` without credentials, for a port of its own."""
        return self._serve

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        found = scope["path"] == "/metrics" and scope["method"] in {"GET", "HEAD"}
        accept = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"accept"), "")
        content_type, body = self.render(accept) if found else ("text/plain; charset=utf-8", b"there is only GET /metrics here\n")
        headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200 if found else 404, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


class _Build(Collector):
    """What runs."""

    def collect(self) -> Iterable[Metric]:
        yield InfoMetricFamily("hub_build", "What runs.", {"version": __version__, "python": platform.python_version()})


class _Parts(Collector):
    """The counters of every part."""

    def __init__(self, parts: dict[str, object]) -> None:
        self._parts = parts

    def collect(self) -> Iterable[Metric]:
        for part, source in self._parts.items():
            counted: Any = source
            for field in fields(counted):
                value = getattr(source, field.name)
                words = f"{part.replace('_', ' ')}: {field.name.replace('_', ' ')}."
                if isinstance(value, dict):
                    family = CounterMetricFamily(f"hub_{part}_{field.name}", words, labels=("kind",))
                    for kind, count in value.items():
                        family.add_metric([kind], count)
                    yield family
                elif isinstance(value, int):
                    yield CounterMetricFamily(f"hub_{part}_{field.name}", words, value=value)


class RequestTimer:
    """Middleware that measures each REST request, under the template of its route: unknown paths share one label."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watch)
        finally:
            # pages and files are plain routes, which leave an endpoint behind but no template
            route = getattr(scope.get("route"), "path", "page" if "endpoint" in scope else "none")
            self.metrics.observe_request(scope["method"], route, status, time.perf_counter() - began)
