"""Bodies that are announced and do not come: who must show a credential is answered at once, and nothing that waits takes memory."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.hub_process import HubProcess

MIB = 1024 * 1024
PATIENCE_S = 30.0
GIVEN_UP_S = 0.05
STALLED = 30
HELD_OF_EACH = 0.8 * MIB
"""Bytes of memory that a stalled body may take: what is read at once, and what the connection itself needs."""

PUBLIC = {"/api/v1/sign-in", "/api/v1/sign-out"}
"""Operations that change something and need no credential."""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    environment = {"HUB_SIMULATOR__AGENTS": "4", "HUB_LOG_LEVEL": "warning", "HUB_LIMITS__MAX_BUFFERED_BYTES_PER_ADDRESS": str(4 * MIB)}
    process = HubProcess(tmp_path_factory.mktemp("bodies"), ("--demo",), environment)
    try:
        yield process.start()
        assert "Traceback" not in process.log()
    finally:
        process.close()


def operations(hub: HubProcess) -> list[tuple[str, str]]:
    """(method, path) of every operation of the running hub that could have a body; parameters are filled in."""
    paths = hub.get("/openapi.json").json()["paths"]
    found = [
        (method.upper(), re.sub(r"\{\w+\}", "x1", path))
        for path, item in paths.items()
        for method in item
        if method.upper() in {"POST", "PUT", "PATCH", "DELETE"}
    ]
    assert len(found) > 20
    return found


def head(method: str, path: str, length: int, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {length}", *lines, "", ""]).encode()


def answer(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of an answer; fails where none comes."""
    connection.settimeout(PATIENCE_S)
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        assert piece, f"the connection ended behind {received!r}"
        received += piece
    start, _, body = received.partition(b"\r\n\r\n")
    (length,) = re.findall(rb"content-length: (\d+)", start, re.IGNORECASE)
    while len(body) < int(length):
        body += connection.recv(65536)
    return int(start.split()[1]), body


def connected(hub: HubProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", hub.port), timeout=PATIENCE_S)


def test_every_operation_asks_for_a_credential_before_the_body(hub: HubProcess) -> None:
    wrong = {}
    for method, path in operations(hub):
        with connected(hub) as connection:
            connection.sendall(head(method, path, MIB // 2, "Content-Type: application/json"))
            status, _ = answer(connection)
        # what anybody may ask, or who asks is in the body: as small as a sign-in
        small = {
            "/api/v1/sign-in",
            "/auth/v3/change-password",
            *(f"/auth/v3/oauth/{name}" for name in ("token", "revoke", "introspect", "device")),
        }
        expected = 413 if path in small else 403 if path.startswith("/participant/") else {"/api/v1/sign-out": 200}.get(path, 401)
        if status != expected:
            wrong[method, path] = status
    assert not wrong


@pytest.mark.parametrize("credential", ["Authorization: Bearer nobody", "x-api-key: nobody"])
@pytest.mark.parametrize("framing", ["Content-Length: 500000", "Transfer-Encoding: chunked"])
def test_a_bad_header_credential_of_a_bayeux_request_is_refused_before_the_body(hub: HubProcess, credential: str, framing: str) -> None:
    start = head("POST", "/statistics/v3/notifications", 0, "Content-Type: application/json", credential)
    with connected(hub) as connection:
        connection.sendall(start.replace(b"Content-Length: 0", framing.encode()))
        assert answer(connection)[0] == (401 if "Bearer" in credential else 403)


def test_every_operation_has_a_limit_that_holds_before_the_body(hub: HubProcess) -> None:
    credential = f"Authorization: Bearer {hub.token}"
    signed = "X-Hub-Signature: sha1=" + "0" * 40
    wrong = {}
    for method, path in operations(hub):
        with connected(hub) as connection:
            connection.sendall(head(method, path, 64 * MIB, "Content-Type: application/json", credential, "x-ccid: demo", signed))
            status, _ = answer(connection)
        if status != 413:
            wrong[method, path] = status
    assert not wrong


@pytest.mark.parametrize("framing", ["announced", "chunked"])
@pytest.mark.parametrize(
    "path", ["/api/v1/sign-in", "/api/v1/endpoints", "/nexus/v3/channels/x/media", "/nexus/v3/channels/x/messages", "/cometd"]
)
def test_bodies_that_stall_one_byte_short_take_next_to_nothing(hub: HubProcess, path: str, framing: str) -> None:
    size = 16 * MIB
    lines = ["Content-Type: application/json", "x-ccid: demo", "X-Hub-Signature: sha1=" + "0" * 40]
    if framing == "announced":
        start = head("POST", path, size, *lines)
    else:
        start = head("POST", path, 0, *lines).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"%x\r\n" % size
    data = start + b" " * (size - 1)
    before = resident(hub)
    with ExitStack() as connections:
        for _ in range(STALLED):
            connection = connections.enter_context(connected(hub))
            connection.settimeout(GIVEN_UP_S)
            pour(connection, data)
        hub.get("/livez")
        held = resident(hub) - before
    assert held < STALLED * HELD_OF_EACH, f"{held // MIB} MiB are held"


def pour(connection: socket.socket, data: bytes) -> None:
    """Send as much as is read: a server that reads no more has refused it."""
    view = memoryview(data)
    try:
        while view:
            view = view[connection.send(view[: 256 * 1024]) :]
    except (TimeoutError, ConnectionError):
        pass


def resident(hub: HubProcess) -> int:
    """Bytes of memory of the hub's process."""
    (kilobytes,) = re.findall(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{hub.process.pid}/status").read_text(), re.MULTILINE)
    return int(kilobytes) * 1024


def test_an_address_has_a_share_of_what_is_buffered(hub: HubProcess) -> None:
    credential = f"Authorization: Bearer {hub.token}"
    body = json.dumps({"data": "x" * (900 * 1024)}).encode()
    with ExitStack() as connections:
        statuses = []
        for _ in range(6):
            connection = connections.enter_context(connected(hub))
            connection.sendall(head("POST", "/statistics/v3/subscriptions", len(body), credential) + body[:-1])
            connection.settimeout(1)
            try:
                statuses.append(connection.recv(65536))
            except TimeoutError:  # it waits for the last byte
                statuses.append(b"")
        refused = [each for each in statuses if each]
        assert refused
        assert all(each.startswith(b"HTTP/1.1 429") and b"retry-after: 1" in each.lower() for each in refused)
    text = hub.get("/metrics").text
    assert re.search(r'^hub_bodies_refused_total{budget="address"} [1-9]', text, re.MULTILINE)
    assert hub.get("/livez").status_code == 200
