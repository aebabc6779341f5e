"""Credentials: what looking one up costs, how fast tokens are refreshed and users signed in, and how an end reaches 10,000 live sessions.

What ends is measured in this process: the hub's own parts with everything but the sockets, so that each piece of the loop is timed by
itself, in CPU time, whatever else the machine does.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from bench.machine import cpu_us, median, pin, whole_cpu_us
from bench.pieces import Pieces
from bench.result import Result, Row, Size, goal
from bench.servers import SERVER_CORE, UNLIMITED
from hub.audit.log import AuditLog
from hub.audit.models import HUB
from hub.bayeux.ports import Peer
from hub.bayeux.websocket import WebSocketConnection
from hub.core.frames import DirectWrite
from hub.core.limits import Limits
from hub.dashboard.conversation import Conversation
from hub.node import Node
from hub.ops.settings import Settings
from hub.security.ends import Ends
from hub.security.passwords import hashes_of
from hub.security.secret import signing_secret
from hub.security.settings import PasswordHashSettings
from tests.support.hub_process import HubProcess, clean_environment, hub_command

TENANT = "bench"
PASSWORD = "of the benchmarks, and long"  # noqa: S105  nobody's
WORKERS = 4
"""Requests at a time; a hub checks as many passwords of one address as ``limits.max_sign_ins_waiting_per_address``."""

OWN_SHARE = 10
"""Divisor: every tenth session is of the user who is signed out."""

END_S = 2.0
PIECE_MS = 2.0
LOOK_UP_US = 15.0
INTROSPECTION_MS = 0.5
REFRESHES = 100.0


def auth(size: Size) -> Result:
    """See the module."""
    result = Result("auth")
    runs = [asyncio.run(_in_process(size)) for _ in range(min(size.runs, 3))]
    what = f"{size.many:,} sessions, a user with {size.many // OWN_SHARE:,} of them signs out everywhere"
    whole = Row(what, "from then to the end of the last one, which the node finds out each second", _of(runs, "seconds"), "s")
    piece = Row(what, "longest piece of the loop, CPU", _of(runs, "longest_ms"), "ms")
    look_up = Row("a token that the node has seen", "CPU of a look-up", _of(runs, "look_up_us"), "us")
    result.rows += [
        goal(whole, size, f"at most {END_S:g} s", whole.value <= END_S),
        goal(piece, size, f"at most {PIECE_MS:g} ms", piece.value <= PIECE_MS),
        goal(look_up, size, f"at most {LOOK_UP_US:g} us", look_up.value <= LOOK_UP_US),
    ]
    result.detail["in process"] = {"runs": runs}
    with _house() as house:
        _introspection(result, house, size)
        _refreshes(result, house, size)
        _sign_ins(result, house, size)
    return result


def _of(runs: list[dict[str, Any]], figure: str) -> float:
    return median(run[figure] for run in runs)


# -- an end, in this process ----------------------------------------------------------------------------------------------


class _Wire:
    """A WebSocket that takes everything."""

    buffered = 0
    direct_write: DirectWrite | None = None

    def __init__(self) -> None:
        self.open = True

    def on_writable_changed(self, callback: Callable[[DirectWrite | None], object]) -> None:
        """Nothing changes."""

    def write(self, frame: bytes) -> bool:
        """It is gone at once."""
        return self.open

    def close(self, code: int, reason: str = "") -> None:
        """Nothing more is taken."""
        self.open = False


async def _in_process(size: Size) -> dict[str, Any]:
    limits = Limits(
        max_sessions=2 * size.many, max_unconnected=2 * size.many, tenant_share_percent=100,
        handshakes_per_s_per_tenant=0, handshakes_per_s_per_address=0,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), limits=limits, log_level="warning")
        node = Node(settings, [])
        async with node._lifespan(None):
            gate, store = node.security.gate, node.security.store
            await store.add_tenant(TENANT)
            for name in ("own", "other"):
                await store.add_user(TENANT, name, PASSWORD, ["supervisor"])
            ends = Ends(node.transactions, node.clock.wall_ms, AuditLog(signing_secret(settings), node.clock.wall_ms))
            user = (await store.user(TENANT, "own")).id
            own = await _sessions(node, "own", size.many // OWN_SHARE)
            others = await _sessions(node, "other", size.many - len(own))
            look_up = await _look_up(node, others[0][1], 200 if size.many < 1_000 else 20_000)
            left = {id(wire) for wire, _ in own}
            with Pieces() as pieces:
                await asyncio.sleep(0.1)
                pieces.longest_ns = 0
                await ends.end_user(TENANT, user, HUB)
                began = time.monotonic()
                while left:
                    await asyncio.sleep(0.005)
                    left = {id(wire) for wire, _ in own if wire.open}
                seconds = time.monotonic() - began
            disturbed = sum(not wire.open for wire, _ in others)
            if disturbed or gate.directory.counters.reloads:
                raise SystemExit(f"{disturbed} sessions of others ended, {gate.directory.counters.reloads} reloads")
        return {
            "seconds": seconds,
            "longest_ms": pieces.longest_ns / 1e6,
            "where": pieces.where,
            "look_up_us": look_up,
        }


async def _sessions(node: Node, user: str, count: int) -> list[tuple[_Wire, str]]:
    """So many sessions of a user, each by a token of its own: a half by Bayeux over WebSocket, a half by ``/ws``."""
    store, gate = node.security.store, node.security.gate
    made: list[tuple[_Wire, str]] = []
    tokens: list[str] = []
    while len(tokens) < count:
        rows = await asyncio.gather(*(store.add_token(TENANT, user) for _ in range(min(200, count - len(tokens)))))
        tokens += [token for _, token in rows]
    shake = json.dumps({"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["websocket"]}).encode()
    for number, token in enumerate(tokens):
        wire = _Wire()
        principal = (await gate.from_ext({"token": token})).principal
        if principal is None:
            raise SystemExit("a token that was just made lets nobody in")
        if number % 2:
            await WebSocketConnection(node.bayeux, wire, Peer(principal=principal, presented=True)).receive(shake)
        else:
            Conversation(node.hub, wire, gate, identifier=f"bench-{user}-{number}", counters=node.dashboards.counters).open(principal)
        made.append((wire, token))
    if len(node.hub.sessions) < count:
        raise SystemExit(f"expected {count} sessions, got {len(node.hub.sessions)}")
    return made


async def _look_up(node: Node, token: str, times: int) -> float:
    """CPU of one look-up of a token that is in memory, as every request with a bearer token makes it, in microseconds."""
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/x",
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {token}".encode())],
    }
    identify = node.security.gate.identify
    for _ in range(100):
        await identify(scope)
    began = time.thread_time_ns()
    for _ in range(times):
        await identify(scope)
    return (time.thread_time_ns() - began) / 1000 / times


# -- a hub process --------------------------------------------------------------------------------------------------------


class _House:
    """A hub on SQLite with a client that has a secret, and one that may use passwords."""

    def __init__(self, folder: Path) -> None:
        unlimited = {"HUB_AUTH__TOKEN_REQUESTS_PER_S": "0", "HUB_AUTH__TENANT_TOKEN_REQUESTS_PER_S": "0"}
        self._process = HubProcess(folder, (), {"HUB_LOG_LEVEL": "warning", **UNLIMITED, **unlimited})
        self._command("tenant", "add", TENANT)
        self._command("user", "add", "ana", "--role", "supervisor", "--password", PASSWORD)
        self._command("client", "add", "page", "--public", "--grant", "password", "--grant", "refresh_token")
        made = json.loads(self._command("client", "add", "server", "--grant", "client_credentials", "--role", "viewer", "--json"))
        self.basic = base64.b64encode(f"server:{made['secret']}".encode()).decode()
        self._process.start()
        self.pid = self._process.process.pid
        self.port = int(self._process.url.rsplit(":", 1)[1])
        pin(self.pid, SERVER_CORE)

    def _command(self, *words: str) -> str:
        command = [str(hub_command()), *words, "--data-dir", str(self._process.data_dir)]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=clean_environment()).stdout

    def connection(self) -> http.client.HTTPConnection:
        """Open a connection for :func:`_post`."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def close(self) -> None:
        """End it."""
        self._process.close()


@contextmanager
def _house() -> Iterator[_House]:
    with tempfile.TemporaryDirectory() as folder:
        house = _House(Path(folder))
        try:
            yield house
        finally:
            house.close()


def _post(connection: http.client.HTTPConnection, path: str, form: dict[str, str], headers: dict[str, str] | None = None) -> dict[str, Any]:
    connection.request(
        "POST", f"/auth/v3/oauth/{path}", urlencode(form), {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
    )
    answer = connection.getresponse()
    said = answer.read()
    if answer.status != 200:
        raise SystemExit(f"{path} answered {answer.status}: {said.decode()}")
    found: dict[str, Any] = json.loads(said)
    return found


def _signed_in(connection: http.client.HTTPConnection) -> dict[str, Any]:
    return _post(connection, "token", {"grant_type": "password", "client_id": "page", "username": "ana", "password": PASSWORD})


def _introspection(result: Result, house: _House, size: Size) -> None:
    connection = house.connection()
    token = _signed_in(connection)["access_token"]
    basic = {"Authorization": f"Basic {house.basic}"}
    calls = 20 if not size.full else 2_000

    def cost() -> float:
        before = cpu_us(house.pid)
        for _ in range(calls):
            if not _post(connection, "introspect", {"token": token}, basic)["active"]:
                raise SystemExit("the token is good, and introspection says that it is not")
        return (cpu_us(house.pid) - before) / calls / 1000

    cost()
    figures = [cost() for _ in range(size.runs)]
    connection.close()
    row = Row("introspection of a token that its client has asked about before (RFC 7662)", "CPU of the hub a call", median(figures), "ms")
    result.rows.append(goal(row, size, f"at most {INTROSPECTION_MS:g} ms", row.value <= INTROSPECTION_MS))
    result.detail["introspection"] = figures


def _refreshes(result: Result, house: _House, size: Size) -> None:
    """Clients that refresh as fast as the hub answers, each its own family."""

    def refresh(connection: http.client.HTTPConnection) -> int:
        token, done = tokens[connection], 0
        until = time.monotonic() + max(0.3, size.seconds / 2)
        while time.monotonic() < until:
            form = {"grant_type": "refresh_token", "client_id": "page", "refresh_token": token}
            token, done = _post(connection, "token", form)["refresh_token"], done + 1
        return done

    tokens = {connection: _signed_in(connection)["refresh_token"] for connection in (house.connection() for _ in range(WORKERS))}
    before, began = cpu_us(house.pid), time.monotonic()
    with ThreadPoolExecutor(WORKERS) as threads:
        done = sum(threads.map(refresh, tokens))
    rate, spent = done / (time.monotonic() - began), cpu_us(house.pid) - before
    for connection in tokens:
        connection.close()
    what = f"refreshes on SQLite, {WORKERS} clients at a time"
    result.rows += [
        goal(Row(what, "refreshes/s", rate, ""), size, f"at least {REFRESHES:g}", rate >= REFRESHES),
        Row(what, "CPU of the hub a refresh", spent / done / 1000, "ms"),
    ]


def _sign_ins(result: Result, house: _House, size: Size) -> None:
    """Beside the bare check of a password of the same cost, in turns: the machine does other things, too."""
    hasher = hashes_of(PasswordHashSettings())._hasher
    hashed = hasher.hash(PASSWORD)
    each = 2 if not size.full else 10
    ours, bare = [], []
    for _ in range(size.runs):
        connection = house.connection()
        before = whole_cpu_us(house.pid)
        for _ in range(each):
            _signed_in(connection)
        ours.append((whole_cpu_us(house.pid) - before) / each / 1000)
        connection.close()
        spent = time.process_time()  # argon2 has threads of its own
        for _ in range(each):
            if not hasher.verify(PASSWORD, hashed):
                raise SystemExit("a right password is taken for a wrong one")
        bare.append((time.process_time() - spent) / each * 1000)
    row = Row("sign-in with a password; beside it argon2 alone", "CPU of the hub a sign-in", median(ours), "ms", median(bare))
    result.rows.append(goal(row, size, "at most a quarter above argon2", row.value <= 1.25 * median(bare)))
    result.detail["sign-ins"] = {"ours": ours, "bare": bare}
