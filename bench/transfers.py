"""Files by signed links: what an upload costs the loop and the memory, what fifty of them do to others, and how fast they are beside nginx.

nginx runs on the same core with the same file, ``sendfile off``: it copies what it sends, which the hub leaves to the operating system. Its
WebDAV writes an upload and hashes nothing, so ``sha256sum`` follows; it does not wait for the disk, which the hub does.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bench.generator import Generator, pinned
from bench.machine import cpu_us, median
from bench.pieces import Pieces
from bench.result import Result, Row, Size, goal
from bench.servers import GENERATOR_CORE, SERVER_CORE, Hub
from bench.uploading import WITHIN_S, link
from hub.objects.counters import ObjectCounters
from hub.objects.link_endpoint import LinkEndpoint
from hub.objects.links import FileLink, FileLinks, Purpose
from hub.objects.local import LocalStore
from hub.objects.settings import ObjectsSettings
from hub.objects.store import Stored
from hub.objects.transfer import Coming, Download, Outcome, Upload
from tests.hub.transports.harness import listening
from tests.support.hub_process import free_port
from tests.world import ManualClock

MIB: Final = 1024 * 1024
PIECE_MS: Final = 2.0
MEMORY_MIB: Final = 1.0
BESIDE: Final = 2.0
SHARE_OF_NGINX: Final = 0.5
AT_ONCE: Final = 50
LOST_MS: Final = 10_000.0
"""Told where sessions were lost: as long as a session lives that says nothing."""

_NGINX: Final = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; sendfile off; client_max_body_size 0; client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port}; root {folder}/root; dav_methods PUT; }}
}}
"""


def transfers(size: Size) -> Result:
    """See the module."""
    result = Result("transfers")
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "file"
        file.write_bytes(os.urandom(20 * MIB if size.full else MIB // 4))
        _pieces(result, file, size)
        hub = Hub(
            {"HUB_SIMULATOR__AGENTS": "2", "HUB_SIMULATOR__LOAD": "0.001", "HUB_OBJECTS__MAX_TRANSFERS_PER_ADDRESS": "100"},
            ("--demo", "--open"),
        )
        try:
            _memory(result, hub, file, size)
            _beside_nginx(result, hub, file, size)
            _beside_others(result, hub, file, size)
        finally:
            hub.close()
    return result


# -- one upload, in this process ------------------------------------------------------------------------------------------


class _Owner:
    """Takes every upload, and keeps nothing of it."""

    purpose = Purpose.MEDIA_STORAGE

    async def begin(self, link: FileLink, coming: Coming) -> Upload | None:
        """Where it goes."""
        return Upload(f"bench/{time.monotonic_ns()}", None, 100 * MIB)

    async def finish(self, link: FileLink, upload: Upload, stored: Stored) -> Outcome:
        """It is kept."""
        return Outcome.KEPT

    async def find(self, link: FileLink) -> Download | None:
        """Nothing is downloaded."""
        return None


def _pieces(result: Result, file: Path, size: Size) -> None:
    longest = [asyncio.run(_longest_piece(file)) for _ in range(min(size.runs, 3))]
    row = Row(f"an upload of {_mib(file)}", "longest piece of the loop, CPU", median(longest), "ms")
    result.rows.append(goal(row, size, f"at most {PIECE_MS:g} ms", row.value <= PIECE_MS))
    result.detail["pieces"] = {"ms": longest}


async def _longest_piece(file: Path) -> float:
    with tempfile.TemporaryDirectory() as folder:
        links = FileLinks(b"b" * 32, ManualClock(wall=1))
        endpoint = LinkEndpoint(links, LocalStore(Path(folder)), lambda: [_Owner()], ObjectsSettings(), ObjectCounters())
        async with listening(endpoint) as port:
            url = links.make(f"http://127.0.0.1:{port}", FileLink("bench", "a", Purpose.MEDIA_STORAGE, 1_000))
            await _upload_beside(url, file)  # the first one imports
            with Pieces() as pieces:
                await _upload_beside(url, file)
    return pieces.longest_ns / 1e6


async def _upload_beside(url: str, file: Path) -> None:
    done = await asyncio.create_subprocess_exec(*_put(url, file), stdout=asyncio.subprocess.PIPE)
    told, _ = await done.communicate()
    _timed(told.decode(), url)


# -- a hub of its own -----------------------------------------------------------------------------------------------------


def _memory(result: Result, hub: Hub, file: Path, size: Size) -> None:
    """What a process holds at most while an upload comes, beyond what it held before."""
    more = []
    for number in range(2 + max(3, size.runs)):
        url = link(hub.port, "imports/bench/memory")
        Path(f"/proc/{hub.pid}/clear_refs").write_text("5")  # the peak is from now on
        before = _peak_kib(hub.pid)
        _timed(subprocess.run(_put(url, file), capture_output=True, text=True, timeout=WITHIN_S, check=True).stdout, url)
        if number > 1:  # the first ones fill caches
            more.append((_peak_kib(hub.pid) - before) / 1024)
    row = Row(f"an upload of {_mib(file)}", "memory of the hub beyond that before it, at most", median(more), "MiB")
    result.rows.append(goal(row, size, f"at most {MEMORY_MIB:g} MiB", row.value <= MEMORY_MIB))
    result.detail["memory"] = {"mib": more}


def _peak_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def _beside_others(result: Result, hub: Hub, file: Path, size: Size) -> None:
    """How late messages are that long-polls wait for, while fifty uploads come."""
    clients = 20 if size.full else 2
    words = {"size": 200, "batch": 1, "interval_us": 50_000, "seconds": min(size.seconds, 5.0), "each": clients}

    def late_ms() -> float:
        generator = Generator()
        try:
            generator("open", group="s", count=clients, channel=hub.channel("0"), **hub.subscribers("bayeux-polling"))
            generator("open", group="p", count=1, **hub.publishers())
            return float(generator("rate", from_="p", to="s", channel=hub.channel("0"), **words)["p99_ms"])
        except SystemExit:  # it has ended, since sessions were lost: nobody heard from them for so long
            return LOST_MS
        finally:
            generator.close()

    quiet, busy = [], []
    for _ in range(min(size.runs, 3)):
        quiet.append(late_ms())
        with _uploads(hub, file, AT_ONCE if size.full else 4):
            busy.append(late_ms())
    what = f"{AT_ONCE} uploads of {_mib(file)} at once, again and again"
    ratio = median(b / q for b, q in zip(busy, quiet, strict=True))
    row = Row(what, f"p99 of {clients} long-polls; beside: without uploads", median(busy), "ms", median(quiet))
    result.rows.append(goal(row, size, f"at most {BESIDE:g} x: {ratio:.2f}", ratio <= BESIDE))
    result.detail["long-polls"] = {"quiet_ms": quiet, "busy_ms": busy}


@contextmanager
def _uploads(hub: Hub, file: Path, count: int) -> Iterator[None]:
    """Uploads that go on, ``count`` at a time, from a process of their own (:mod:`bench.uploading`)."""
    command = [*pinned(GENERATOR_CORE), sys.executable, "-m", "bench.uploading", str(hub.port), str(file), str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            if process.stdout.readline() != "begun\n":
                raise SystemExit("the uploads did not begin")
            yield
        finally:
            process.communicate("")
    if process.returncode:
        raise SystemExit("an upload was not taken")


# -- beside nginx ---------------------------------------------------------------------------------------------------------


def _beside_nginx(result: Result, hub: Hub, file: Path, size: Size) -> None:
    if shutil.which("nginx") is None:
        raise SystemExit("the benchmark of transfers needs nginx: install nginx-light")
    with _nginx(file) as (port, pid, root):
        down: list[tuple[float, float]] = []
        up: list[tuple[float, float]] = []
        cpu: dict[str, list[float]] = {"hub down": [], "nginx down": [], "hub up": [], "nginx up": []}

        def run(command: list[str], of: int, name: str) -> float:
            before = cpu_us(of)
            took = _timed(subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=True).stdout, command[-1])
            cpu[name].append((cpu_us(of) - before) / 1000)
            return took

        run(_put(link(hub.port, "imports/bench/file"), file), hub.pid, "hub up")
        for number in range(size.runs):
            fetch = _get(link(hub.port, "imports/bench/file", "signedDownloadUrl"))
            theirs = run(_get(f"http://127.0.0.1:{port}/file"), pid, "nginx down")
            down.append((theirs, run(fetch, hub.pid, "hub down")))
            theirs = run(_put(f"http://127.0.0.1:{port}/up-{number}", file), pid, "nginx up")
            began = time.perf_counter()
            subprocess.run([*pinned(SERVER_CORE), "sha256sum", str(root / f"up-{number}")], capture_output=True, check=True)
            theirs += time.perf_counter() - began
            up.append((theirs, run(_put(link(hub.port, f"imports/bench/up-{number}"), file), hub.pid, "hub up")))
    mib = file.stat().st_size / MIB
    for what, took, name in (("a download", down, "nginx, sendfile off"), ("an upload", up, "nginx WebDAV, then sha256sum")):
        share = median(theirs / ours for theirs, ours in took)
        row = Row(f"{what} of {_mib(file)}", f"MiB/s; beside: {name}", mib / median(ours for _, ours in took), "")
        row.beside = mib / median(theirs for theirs, _ in took)
        result.rows.append(goal(row, size, f"at least {SHARE_OF_NGINX:g} x: {share:.2f}", share >= SHARE_OF_NGINX))
    for name, spent in cpu.items():
        result.rows.append(Row(f"{name} of {_mib(file)}", "CPU of the server", median(spent), "ms"))
    result.detail["nginx"] = {"down_s": down, "up_s": up, "cpu_ms": cpu}


@contextmanager
def _nginx(file: Path) -> Iterator[tuple[int, int, Path]]:
    """nginx with the file: port, process id, and the folder of what it serves."""
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        folder.chmod(0o755)
        (folder / "root").mkdir()
        (folder / "root").chmod(0o777)
        shutil.copy(file, folder / "root" / "file")
        (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, port=port))
        process = subprocess.Popen([*pinned(SERVER_CORE), "nginx", "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")])
        try:
            until = time.monotonic() + WITHIN_S
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except ConnectionRefusedError:
                    if process.poll() is not None or time.monotonic() > until:
                        raise SystemExit(f"nginx did not start:\n{(folder / 'error.log').read_text()}") from None
                    time.sleep(0.02)
            yield port, process.pid, folder / "root"
        finally:
            process.terminate()
            process.wait(WITHIN_S)


_TOLD: Final = ("--noproxy", "*", "-s", "-o", "/dev/null", "-w", "%{http_code} %{time_total}")


def _put(url: str, file: Path) -> list[str]:
    return [*pinned(1 - SERVER_CORE), "curl", *_TOLD, "-H", "Expect:", "-T", str(file), url]


def _get(url: str) -> list[str]:
    return [*pinned(1 - SERVER_CORE), "curl", *_TOLD, url]


def _timed(told: str, url: str) -> float:
    """The seconds that curl tells.

    Raises:
        SystemExit: the answer was no success.
    """
    status, _, took = told.partition(" ")
    if status not in ("200", "201", "204"):
        raise SystemExit(f"expected a success of {urlsplit(url).path[:60]}, got {status}")
    return float(took)


def _mib(file: Path) -> str:
    return f"{file.stat().st_size / MIB:g} MiB"
