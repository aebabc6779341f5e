"""The picture of a run as SVG: latency percentiles, and throughput by the number of clients. Only measured figures are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.machine import median

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Results = Mapping[str, Mapping[str, Any]]
"""The details of each result, by its name."""

_SHARES = (("p50_ms", "50 %"), ("p90_ms", "90 %"), ("p99_ms", "99 %"), ("p999_ms", "99.9 %"))


def draw(results: Results, path: Path, caption: str) -> bool:
    """Write the picture. Returns False if there is nothing to draw."""
    latencies = _latencies(results)
    rates = _rates(results)
    if not latencies and not rates:
        return False
    # here alone: every process that imports the benchmarks, each test process too, would pay 0.3 s and 40 MiB for it
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # texts stay texts, and the same figures give the same file
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "bench", "font.size": 9.0}):
        figure = Figure(figsize=(10, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_latencies(left, latencies)
        _draw_rates(right, rates)
        figure.supxlabel(caption, fontsize=7, color="0.4")
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    return True


def _latencies(results: Results) -> dict[str, list[float]]:
    """Return the percentiles of each scenario with a fixed rate, in ms: medians over its runs."""
    found: dict[str, list[float]] = {}
    steady = {"latency": "20 messages/s to 1,000 clients", "CometD's default scenario": "CometD's own load: 100,000 deliveries/s"}
    for name, what in steady.items():
        if runs := results.get(name, {}).get("runs"):
            found[what] = _percentiles(runs)
    if run := results.get("another channel", {}).get("run"):
        found["10 clients, while 10,000 others are served"] = _percentiles([run])
    for manner, run in results.get("personal updates", {}).items():
        found[f"personal statistics: {manner}"] = _percentiles([run])
    return found


def _percentiles(runs: Sequence[Mapping[str, float]]) -> list[float]:
    return [median(run[key] for run in runs) for key, _ in _SHARES]


def _rates(results: Results) -> dict[str, list[tuple[int, float]]]:
    """Return deliveries/s by the number of subscribers, for each server."""
    found: dict[str, list[tuple[int, float]]] = {}
    for clients, rates in results.get("growth", {}).items():
        for server, rate in rates.items():
            found.setdefault(server, []).append((int(clients), rate))
    return found


def _draw_latencies(axes: Axes, latencies: Mapping[str, Sequence[float]]) -> None:
    axes.set_title("Latency, from the moment a message is due")
    for what, values in latencies.items():
        axes.plot(range(len(values)), values, marker="o", label=what)
    axes.set_xticks(range(len(_SHARES)), [label for _, label in _SHARES])
    axes.set_xlabel("of all deliveries are faster than")
    axes.set_ylabel("ms")
    axes.grid(alpha=0.3)
    if latencies:
        axes.set_ylim(0, 1.4 * max(max(values) for values in latencies.values()))  # the legend stands above the lines
        axes.legend(fontsize=7, loc="upper left")


def _draw_rates(axes: Axes, rates: Mapping[str, Sequence[tuple[int, float]]]) -> None:
    axes.set_title("Deliveries a second, one message at a time")
    for server, points in rates.items():
        axes.plot([clients for clients, _ in points], [rate / 1000 for _, rate in points], marker="o", label=server)
    counts = sorted({clients for points in rates.values() for clients, _ in points})
    axes.set_xscale("log")
    axes.set_xticks(counts, [f"{clients:,}" for clients in counts])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("subscribers")
    axes.set_ylabel("thousand deliveries/s")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    if rates:
        axes.legend(fontsize=7)
