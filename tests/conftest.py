"""Fixtures of the black-box tests, and the rule that under HUB_TEST_STRICT=1 a skip is a failure."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import httpx._transports.default
import pytest
import structlog
import typer.testing
from httpx._config import create_ssl_context
from hypothesis import find, settings
from hypothesis.strategies import text

from tests.support.browser import NOT_INSTALLED, chromium
from tests.support.cheap_secrets import LEAST
from tests.support.hub_process import HUB_COMMAND, HubProcess, keep_warm, set_for_all
from tests.support.memory_folder import memory_folder, remove_left, use
from tests.support.puppet import why_no_node
from tests.support.redis_server import RedisServer, why_no_redis
from tests.support.redis_topologies import ClusterServer, WatchedRedis
from tests.support.s3_server import S3Server, why_no_s3
from tests.support.time_limit import time_limit
from tests.support.warm import Warm

pytest_plugins = ["tests.conformance.plugin", "tests.support.repetition", "tests.support.run_report"]
"""Here, and not beside its tests: the conformance suite's options are read, and its table printed, where nothing is collected too."""

STRICT = os.environ.get("HUB_TEST_STRICT") == "1"

SMALL_CENTRE = {"HUB_SIMULATOR__AGENTS": "4", "HUB_LOG_SLOW_MS": "50"}
"""Hubs of one test do not need the whole demo, whose past day takes a moment to simulate."""

QUIET_CENTRE = SMALL_CENTRE | {"HUB_SIMULATOR__AGENTS": "2", "HUB_SIMULATOR__LOAD": "0.01"}
"""For tests to whom it does not matter what the demo's agents do: next to nothing."""

QUIET_SIMULATOR = {"agents": 2, "load": 0.01}
"""The same for a demo in the process of the tests, as the settings' section ``simulator``. The whole one takes a second of CPU."""

COLD = os.environ.get("HUB_TEST_COLD") == "1"

NO_AUTHORITY = Path(__file__).parent / "support" / "no_authority.pem"
"""The one certificate that programs of the tests trust, unless a test names another: that of an authority whose key nobody has.

Each client of httpx, and each process, would read the some 150 authorities of the web otherwise: 40 ms of CPU, for a loopback.
"""

HubFactory = Callable[..., HubProcess]


def pytest_configure(config: pytest.Config) -> None:
    """Keep files in memory, read few certificates, have hubs hash passwords with little memory, and log exceptions plainly: by default
    structlog has rich draw each frame with its variables, which takes up to a second.
    """
    if not hasattr(config, "workerinput"):  # these find the folder in their environment
        remove_left()
        if folder := memory_folder():
            use(folder)
            config.stash[_in_memory] = folder
    os.environ["SSL_CERT_FILE"] = str(NO_AUTHORITY)
    set_for_all(LEAST)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a background job of a shell; what tests start would ignore it, too
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # its runner would read the signatures of all commands again for each one that is run: a third of the CPU of their tests
    typer.testing._get_command = lru_cache(maxsize=16)(typer.testing._get_command)
    httpx._transports.default.create_ssl_context = _tls_context
    # how long an example takes is no matter of the tests: a machine that does much else is slow
    settings.register_profile("tests", deadline=None)
    settings.load_profile("tests")
    renderer = structlog.get_config()["processors"][-1]
    renderer.exception_formatter = structlog.dev.plain_traceback


def _tls_context(verify: ssl.SSLContext | str | bool = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
    """In place of httpx's, which reads the certificates for each client: half a millisecond, and 14 for one without ``trust_env``. Those
    that differ in nothing share what was read.
    """
    if verify is not True or cert is not None:
        return create_ssl_context(verify, cert, trust_env)
    return _usual_context(trust_env, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@cache
def _usual_context(trust_env: bool, _file: str | None, _folder: str | None) -> ssl.SSLContext:
    return create_ssl_context(trust_env=trust_env)


_in_memory: pytest.StashKey[Path] = pytest.StashKey()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Give the memory of the files back, unless somebody may want to look at those of a test that failed."""
    if (folder := config.stash.get(_in_memory, None)) and not config.stash.get(_failed, False):
        shutil.rmtree(folder, ignore_errors=True)


_failed: pytest.StashKey[bool] = pytest.StashKey()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Note whether a test failed."""
    session.config.stash[_failed] = session.testsfailed > 0


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Make Hypothesis' table of characters, which it keeps in ``.hypothesis``, before the test processes begin: at its first text each of
    them would need two seconds and 200 MiB for it.
    """
    if session.config.getoption("numprocesses", None) and not hasattr(session.config, "workerinput"):
        find(text(), lambda _: True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine cannot run, and say why."""
    if item.get_closest_marker("node") and (why := why_no_node()):
        pytest.skip(why)
    if item.get_closest_marker("browser") and chromium() is None:
        pytest.skip(NOT_INSTALLED)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The long form of a campaign runs only when asked for: `make test-long`. Left out, not skipped: no machine is at fault.

    Files with a test that may take longer than others begin first. They wait for leases and restarts, while the other processes compute,
    and no run ends with one of them alone.
    """
    if "long" in config.getoption("markexpr"):
        return
    kept = [item for item in items if not item.get_closest_marker("long")]
    if len(kept) != len(items):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("long")])
    usual_s = float(config.getini("timeout"))
    slow = {item.path for item in kept if time_limit(item) > usual_s}
    items[:] = sorted(kept, key=lambda item: item.path not in slow)


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if STRICT and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"skipped, and HUB_TEST_STRICT=1 makes that a failure: {reason}"


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    outcome: Any = yield
    _refuse_skip(outcome.get_result())


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Show the logs of the hubs that a failed test used."""
    outcome: Any = yield
    report = outcome.get_result()
    _refuse_skip(report)
    if report.failed:
        values = list(getattr(item, "funcargs", {}).values())
        values += [hub for value in values for hub in getattr(value, "hubs", ())]  # of a cluster
        used = [value for value in values if isinstance(value, HubProcess)]
        for hub in {id(hub): hub for hub in [*used, *item.stash.get(_STARTED, [])]}.values():
            report.sections.append((f"log of the hub on port {hub.port}", hub.log()))


_STARTED: pytest.StashKey[list[HubProcess]] = pytest.StashKey()


@pytest.fixture(scope="session", autouse=True)
def warm() -> Iterator[None]:
    """Hubs are forked from a process that has the imports behind it."""
    if COLD:
        yield
        return
    process = Warm(HUB_COMMAND)
    keep_warm(process)
    yield
    keep_warm(None)
    process.close()


@pytest.fixture
def centre() -> Mapping[str, str]:
    """The simulated centre of a test's hubs; a folder's tests may have another."""
    return SMALL_CENTRE


@pytest.fixture
def hub_process(tmp_path: Path, centre: Mapping[str, str], request: pytest.FixtureRequest) -> Iterator[HubFactory]:
    """Start hubs: ``hub_process(*flags, environment={...})``; without flags ``--demo``. Each ends with the test."""
    started: list[HubProcess] = request.node.stash.setdefault(_STARTED, [])

    def start(*flags: str, environment: Mapping[str, str] = {}) -> HubProcess:
        folder = tmp_path / f"hub-{len(started)}"
        folder.mkdir()
        hub = HubProcess(folder, flags or ("--demo",), {**centre, **environment})
        started.append(hub)
        return hub.start()

    yield start
    _close_all(started)


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[Callable[[str], RedisServer]]:
    """One server of each kind for all tests of a worker, that leave it running: each works under a prefix of its own
    (:data:`tests.support.redis_server.SHARED`).
    """
    running: dict[str, RedisServer] = {}

    def server(kind: str) -> RedisServer:
        if why := why_no_redis("valkey" if kind == "valkey" else "redis"):
            pytest.skip(why)
        if kind not in running:
            running[kind] = {"sentinel": WatchedRedis, "cluster": ClusterServer}.get(kind, partial(RedisServer, kind))()
        return running[kind]

    yield server
    for each in running.values():
        each.close()


@pytest.fixture
def redis_process(request: pytest.FixtureRequest) -> Iterator[Callable[..., RedisServer]]:
    """Start servers of a test's own: ``redis_process("redis", "--appendonly", "yes")``. Each ends with the test."""
    started: list[RedisServer] = []

    def start(kind: str = "redis", *options: str, port: int = 0) -> RedisServer:
        if why := why_no_redis(kind):
            pytest.skip(why)
        started.append(RedisServer(kind, *options, port=port))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """One server of S3's protocol for all tests of a worker, that leave it running: each works in a bucket or below a folder of its own."""
    if why := why_no_s3():
        pytest.skip(why)
    server = S3Server()
    yield server
    server.close()


@pytest.fixture
def s3_process() -> Iterator[Callable[..., S3Server]]:
    """Start servers of a test's own, which it may kill. Each ends with the test."""
    started: list[S3Server] = []

    def start(*options: str) -> S3Server:
        if why := why_no_s3():
            pytest.skip(why)
        started.append(S3Server(*options))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture(scope="session")
def demo_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """One `hub serve --demo` for all tests of a worker that leave it as they found it: each works in channels and ids of its own."""
    # a small centre: this hub simulates as long as its worker runs
    hub = HubProcess(tmp_path_factory.mktemp("demo-hub"), environment=SMALL_CENTRE)
    try:
        yield hub.start()
    finally:
        hub.close()


def _close_all(parts: Sequence[HubProcess]) -> None:
    faults = []
    for part in parts:
        try:
            part.close()
        except RuntimeError as fault:
            faults.append(str(fault))
    assert not faults, "\n".join(faults)
