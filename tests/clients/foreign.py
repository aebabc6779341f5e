"""The client libraries that nobody here wrote, each over every transport it has: one table, and how a test gets a client of one."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.hub_process import HubProcess
from tests.support.puppet import NODE_FOLDER, Puppet, PuppetProcess

TOKEN = {"token": HubProcess.token}


@dataclass(frozen=True)
class Kind:
    """A library over one transport. What it cannot do is a fact about it, stated here, and no test asks for it."""

    library: str
    transport: str
    script: str
    program: str = "node"
    folder: Path = NODE_FOLDER
    path: str = "/cometd"
    options: dict[str, Any] = field(default_factory=dict)
    batches: bool = True
    """Whether what is published in one batch keeps its order on the way to the hub."""
    largest_batch: int = 20
    """Messages that a batch of the tests has; it leaves in one request."""
    obeys_interval: bool = True
    """Whether it takes ``advice.interval`` for the milliseconds that it is."""

    def __str__(self) -> str:
        return f"{self.library}-{self.transport}"

    def open(self, process: PuppetProcess, url: str, *, path: str | None = None, **options: Any) -> Puppet:
        """A client of the hub behind a base URL, before its handshake; ``path`` takes the place of the library's usual one."""
        client = process.client()
        endpoint = f"{url}{self.path if path is None else path}"
        client.call("open", {"url": endpoint, "transports": [self.transport], **self.options, **options})
        return client


def _aiocometd(transport: str) -> Kind:
    return Kind(
        "aiocometd-ng",
        transport,
        "aiocometd_puppet.py",
        program=sys.executable,
        folder=Path(__file__).parent,
        batches=False,
        obeys_interval=False,
    )


KINDS = [
    *(Kind("cometd9", transport, "cometd.mjs", options={"library": "cometd"}) for transport in ("websocket", "long-polling")),
    *(Kind("cometd8", transport, "cometd.mjs", options={"library": "cometd8"}) for transport in ("websocket", "long-polling")),
    Kind("genesys", "long-polling", "genesys.mjs", path="", options={"apiKey": HubProcess.api_key}),
    Kind("faye", "websocket", "faye.mjs", batches=False),  # a frame for each message
    # more than 2 KiB it splits into requests on connections of their own, which may overtake each other on the way
    Kind("faye", "long-polling", "faye.mjs", largest_batch=12),
    _aiocometd("websocket"),
    _aiocometd("long-polling"),
]
"""Every client over every transport. (The Statistics API's library brings CometD's client 3 along, on a path of its own.)"""

JAVA_FOLDER = Path(sys.prefix) / "java"
"""Where `make test` builds the programs of tests/clients/java."""


def _java(library: str, transport: str, name: str, **options: Any) -> Kind:
    script = f"@{Path(__file__).parent / 'java' / name / 'run.args'}"
    return Kind(library, transport, script, program="java", folder=JAVA_FOLDER / name, **options)


JAVA_KINDS = [
    _java("cometd-java8", "websocket", "cometd"),
    _java("cometd-java8", "long-polling", "cometd"),
    _java("statistics-java", "long-polling", "statistics", path="", options={"apiKey": HubProcess.api_key}),
]
"""CometD's clients for Java: today's, and the one that the Statistics API's client for Java uses, with that client's own calls."""


def why_no_java() -> str | None:
    """None when the Java clients can run here, else what is missing."""
    if shutil.which("java") is None:
        return "java is not installed: Debian's packages are default-jdk-headless and maven"
    if not (JAVA_FOLDER / ".installed").exists():
        return "the programs of tests/clients/java are not built: install Debian's maven, then run `make test`"
    return None


Connect = Callable[..., Puppet]
"""``connect(hub, kind)``: a client in a process that all tests share, connected; ``handshake=False`` leaves that to the test."""
