"""Metrics for Prometheus.

Names begin with ``hub_``, except those of the process, which are ``process_*`` as in every client library of Prometheus. Counters end in
``_total``, times in ``_seconds``, sizes in ``_bytes``. Every label has a limited number of values: a channel, an id or a path that a client
chose is never a label. Counts of the same thing by kind are one metric with a label (https://prometheus.io/docs/practices/naming/).

To add a metric: add a field with a docstring to a part's dataclass of counters (:mod:`hub.core.metric`), or an entry to ``gauges``,
``counts`` or ``latencies`` of :class:`hub.family.Parts`; then ``make reference`` writes it into docs/metrics.md.
"""

import ast
import asyncio
import functools
import inspect
import itertools
import platform
import textwrap
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any, Final, NamedTuple

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, disable_created_metrics
from prometheus_client import Histogram as LabelledHistogram
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub import __version__
from hub.core.metric import CounterFamily, Histogram
from hub.http.method import asked_method

KEPT_S: Final = 0.1
"""Seconds for which the text on ``metrics_port`` is cached; to make the text blocks the event loop for some milliseconds."""

MAX_KEPT: Final = 8
"""How many content types are cached at most: the caller chooses a version in some of them."""

PREFIX: Final = "hub_"

_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REQUEST_LABELS: Final = ("method", "route", "status")

# else each counter and histogram has one more series, which only repeats process_start_time_seconds
disable_created_metrics()  # type: ignore[no-untyped-call]


class Described(NamedTuple):
    """A metric as the reference shows it."""

    name: str
    type: str
    labels: Mapping[str, tuple[str, ...]]
    """From the name of a label to its values, as far as they are known in advance."""
    help: str


class Metrics:
    """The metrics of a process."""

    __slots__ = ("_labels", "_making", "_names", "_parts", "_rendered", "_requests", "gather", "registry")

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._rendered: dict[str, tuple[float, bytes]] = {}
        """By content type: the time at which the text was made, in seconds, and the text."""
        self._making: dict[str, asyncio.Task[tuple[str, bytes]]] = {}
        """By content type: the text that is being made."""
        self.gather: Callable[[str], Awaitable[tuple[str, bytes]]] | None = None
        """Makes the text of all workers of this machine, given an ``Accept`` header; None: this process serves alone."""
        self._names: set[str] = set()
        self._parts: dict[str, tuple[object, list[_Shown]]] = {}
        self._labels: dict[str, dict[str, tuple[str, ...]]] = {"hub_build": {"version": (), "python": ()}}
        """For each metric with labels: from the label's name to its values, empty where they are not known in advance."""
        self._requests = LabelledHistogram(
            "hub_http_request_duration_seconds",
            "Time from a REST request to the end of its answer, by route template.",
            _REQUEST_LABELS,
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self._labels["hub_http_request_duration_seconds"] = dict.fromkeys(_REQUEST_LABELS, ())
        ProcessCollector(registry=self.registry)
        self.registry.register(_Build())
        self.registry.register(_Parts(self._parts))

    def counters(self, part: str, source: object) -> None:
        """Add a part's counters: a dataclass in which every field is an int, or a dictionary of text to int with a limited set of keys.

        Each becomes ``hub_<part>_<field>_total``, without ``<part>_`` when ``part`` is empty; a dictionary's keys become the label
        ``kind``. The class variable ``METRICS`` of the dataclass holds :class:`hub.core.metric.CounterFamily` objects, which combine
        fields under one name with a label. HELP is the docstring below a field. The source is read at each scrape.

        Raises:
            ValueError: the part or a name exists already, a field has no docstring, or ``METRICS`` names a field that does not exist.
        """
        if part in self._parts:
            raise ValueError(f"the counters of {part} are registered twice")
        shown = list(_shown(part, source))
        for each in shown:
            self._take(each.name)
            if each.label:
                self._labels[each.name] = {each.label: tuple(value for _, value in each.fields if value)}
        self._parts[part] = source, shown

    def gauge(self, name: str, help: str, fn: Callable[[], float]) -> None:
        """Add a value that rises and falls as ``hub_<name>``; a ``hub_`` in ``name`` is not repeated. ``fn`` is called at each scrape.

        Raises:
            ValueError: the name is taken.
        """
        Gauge(self._take(name), help, registry=self.registry).set_function(fn)

    def count(self, name: str, help: str, fn: Callable[[], int]) -> None:
        """Add a number that only rises as ``hub_<name>_total``; ``fn`` is called at each scrape.

        Raises:
            ValueError: the name is taken.
        """
        self.registry.register(_Count(self._take(name), help, fn))

    def histogram(self, name: str, help: str, source: Histogram | Mapping[str, Histogram], label: str = "") -> None:
        """Add a histogram as ``hub_<name>``, or a dictionary of histograms, by the values of ``label``.

        Raises:
            ValueError: the name is taken.
        """
        name = self._take(name)
        histograms = source if isinstance(source, Mapping) else {"": source}
        if label:
            self._labels[name] = {label: tuple(histograms)}
        self.registry.register(_Histograms(name, help, histograms, label))

    def _take(self, name: str) -> str:
        """The full name of a metric, which is then marked as used."""
        full = PREFIX + name.removeprefix(PREFIX)
        if full in self._names:
            raise ValueError(f"the metric {full} is registered twice")
        self._names.add(full)
        return full

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered REST request, with its duration in seconds."""
        self._requests.labels(method if method in _METHODS else "other", route, str(status)).observe(seconds)

    def describe(self) -> list[Described]:
        """Every metric, ordered by name, as Prometheus stores it: counters with ``_total``."""
        found = []
        for family in self.registry.collect():
            suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
            labels = self._labels.get(family.name, {})
            found.append(Described(family.name + suffix, family.type, labels, family.documentation))
        return sorted(found, key=lambda each: each.name)

    def render(self, accept: str = "") -> tuple[str, bytes]:
        """The content type and the text of ``/metrics``, in the format that an ``Accept`` header prefers."""
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self.registry)

    async def answer(self, accept: str = "") -> tuple[str, bytes]:
        """The same for all workers of this machine."""
        return self.render(accept) if self.gather is None else await self.gather(accept)

    def app(self) -> ASGIApp:
        """An ASGI application that serves ``/metrics`` without credentials, for a port of its own."""
        return self._serve

    async def _kept(self, accept: str) -> tuple[str, bytes]:
        """The result of :meth:`answer`, cached for :data:`KEPT_S`: everybody who can reach the port may send any number of requests."""
        _, content_type = choose_encoder(accept)
        kept = self._rendered.get(content_type)
        if kept is not None and time.monotonic() - kept[0] <= KEPT_S:
            return content_type, kept[1]
        making = self._making.get(content_type)
        if making is None:
            making = self._making[content_type] = asyncio.create_task(self.answer(accept), name="hub.ops.metrics")
            making.add_done_callback(lambda _: self._making.pop(content_type, None))
        _, text = await asyncio.shield(making)
        if content_type not in self._rendered and len(self._rendered) >= MAX_KEPT:
            self._rendered.clear()
        self._rendered[content_type] = time.monotonic(), text
        return content_type, text

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        found = scope["path"] == "/metrics" and scope["method"] in {"GET", "HEAD"}
        accept = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"accept"), "")
        content_type, body = await self._kept(accept) if found else ("text/plain; charset=utf-8", b"there is only GET /metrics here\n")
        headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200 if found else 404, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


class _Build(Collector):
    """Build information: the version of the hub and of Python."""

    def collect(self) -> Iterable[Metric]:
        yield InfoMetricFamily(
            "hub_build",
            "The versions of the hub and of Python that run.",
            {
                "version": __version__,
                "python": platform.python_version(),
            },
        )


class _Shown(NamedTuple):
    """One counter of a part: the fields that it reads, each with its label value. Without a label there is one field."""

    name: str
    help: str
    label: str
    fields: tuple[tuple[str, str], ...]


def _shown(part: str, source: object) -> Iterator[_Shown]:
    """The counters of a dataclass."""
    counted: Any = source
    kind = type(source)
    docs = field_docs(kind)  # type: ignore[arg-type]  # mypy takes a type for not hashable
    families: tuple[CounterFamily, ...] = getattr(kind, "METRICS", ())
    lead = f"{PREFIX}{part}_" if part else PREFIX
    numbers = [field.name for field in fields(counted) if isinstance(getattr(source, field.name), int | dict)]
    gathered = {field: family for family in families for field in family.fields}
    unknown = sorted(gathered.keys() - set(numbers))
    if unknown:
        raise ValueError(f"{kind.__qualname__}.METRICS: expected fields that count, got {', '.join(unknown)}")
    for name in numbers:
        if name not in docs and name not in gathered:
            raise ValueError(f"{kind.__qualname__}.{name}: expected a docstring below the field, the HELP text of its metric, got none")
    done = set()
    for name in numbers:
        family = gathered.get(name)
        if family is None:
            yield _Shown(lead + name, docs[name], "kind" if isinstance(getattr(source, name), dict) else "", ((name, ""),))
        elif family.name not in done:
            done.add(family.name)
            yield _Shown(lead + family.name, family.help, family.label, tuple(family.fields.items()))


@functools.cache
def field_docs(kind: type) -> Mapping[str, str]:
    """The docstring below each field in the source of a class, each as one line."""
    (body,) = (node.body for node in ast.parse(textwrap.dedent(inspect.getsource(kind))).body if isinstance(node, ast.ClassDef))
    return {
        field.target.id: " ".join(str(text.value.value).split()).replace("``", "`")
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }


class _Parts(Collector):
    """The counters of every part."""

    def __init__(self, parts: dict[str, tuple[object, list[_Shown]]]) -> None:
        self._parts = parts

    def collect(self) -> Iterable[Metric]:
        for source, shown in self._parts.values():
            for each in shown:
                family = CounterMetricFamily(each.name, each.help, labels=(each.label,) if each.label else ())
                for field, value in each.fields:
                    counted = getattr(source, field)
                    if isinstance(counted, dict):
                        for kind, count in counted.items():
                            family.add_metric([kind], count)
                    else:
                        family.add_metric([value] if each.label else [], counted)
                yield family


class _Count(Collector):
    """A counter whose value a function returns."""

    def __init__(self, name: str, help: str, fn: Callable[[], int]) -> None:
        self._name = name
        self._help = help
        self._fn = fn

    def collect(self) -> Iterable[Metric]:
        yield CounterMetricFamily(self._name, self._help, value=self._fn())


class _Histograms(Collector):
    """Histograms of :mod:`hub.core.metric` under one name."""

    def __init__(self, name: str, help: str, histograms: Mapping[str, Histogram], label: str) -> None:
        self._name = name
        self._help = help
        self._histograms = histograms
        self._label = label

    def collect(self) -> Iterable[Metric]:
        family = HistogramMetricFamily(self._name, self._help, labels=(self._label,) if self._label else ())
        for value, histogram in self._histograms.items():
            cumulative = itertools.accumulate(histogram.counts)
            bounds = [*(repr(bound) for bound in histogram.bounds), "+Inf"]
            family.add_metric([value] if self._label else [], list(zip(bounds, cumulative, strict=True)), histogram.sum)
        yield family


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
            # pages and files are plain routes: these set an endpoint in the scope, but no template
            route = getattr(scope.get("route"), "path", "page" if "endpoint" in scope else "none")
            self.metrics.observe_request(asked_method(scope), route, status, time.perf_counter() - began)
