"""nginx and HAProxy in front of several hubs, with the files of deploy/: only addresses, ports and folders are put in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from tests.support.hub_process import free_port

DEPLOY = Path(__file__).parents[2] / "deploy"
PROGRAMS = ("nginx", "haproxy")
READY_WITHIN_S = 20.0

_NGINX_FOLDERS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def why_no_balancer(program: str) -> str | None:
    """None when the balancer can run here, else what is missing."""
    return None if shutil.which(program) else f"{program} is not installed: Debian's packages are nginx-light and haproxy"


def configuration(program: str, folder: Path, port: int, hub_ports: Sequence[int]) -> str:
    """The file of deploy/ for these hubs, and for what this machine lets one process open.

    Raises:
        AssertionError: it does not hold what is to be replaced as often as expected.
    """
    name = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg"}[program]
    text = (DEPLOY / name).read_text()

    def put_in(pattern: str, real: str) -> None:
        nonlocal text
        text, count = re.subn(pattern, lambda _: real, text, flags=re.MULTILINE)
        assert count == 1, f"deploy/{name} should hold {pattern!r} once, got {count}"

    for number, hub_port in enumerate(hub_ports, 1):
        put_in(rf"\bhub{number}:8080\b", f"127.0.0.1:{hub_port}")
    if program == "nginx":
        put_in(r"^( *)listen 8000;", f"        listen 127.0.0.1:{port};")
        temporary = "".join(f"    {each}_temp_path {folder}/{each};\n" for each in _NGINX_FOLDERS)
        put_in(r"^http \{\n", f"http {{\n{temporary}")
        put_in(r"^worker_rlimit_nofile .*$", "")
        put_in(r"worker_connections \d+;", "worker_connections 2048;")
    else:
        put_in(r"^( *)bind :8000$", f"    bind 127.0.0.1:{port}")
        put_in(r"maxconn \d+", "maxconn 2048")
    return text


class Balancer:
    """One balancer in the foreground on a loopback port, in front of hubs on other ports; ``port`` is a free one unless asked for."""

    def __init__(self, program: str, folder: Path, hub_ports: Sequence[int]) -> None:
        self.program = program
        self.port = free_port()
        self._folder = folder
        file = folder / f"{program}.conf"
        file.write_text(configuration(program, folder, self.port, hub_ports))
        error_log = folder / "error.log"
        # as root its workers would be of a user who may not look into the folder of the test
        who = " user root;" if os.geteuid() == 0 else ""
        said = f"daemon off; pid {folder}/nginx.pid; error_log {error_log};{who}"
        self._command = {
            "nginx": ["nginx", "-e", str(error_log), "-c", str(file), "-g", said],
            "haproxy": ["haproxy", "-db", "-f", str(file)],
        }[program]
        with (folder / "out.log").open("wb") as out:
            self._process = subprocess.Popen(self._command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        try:
            self._wait_ready()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """The base URL of the hubs behind it. Named localhost: cookie jars of some clients drop the cookies of an address."""
        return f"http://localhost:{self.port}"

    @property
    def ws_url(self) -> str:
        """The base URL of the WebSocket endpoints."""
        return f"ws://localhost:{self.port}"

    def _wait_ready(self) -> None:
        """Wait until a hub answers through it."""
        end = time.monotonic() + READY_WITHIN_S
        with httpx.Client(timeout=5) as http:
            while time.monotonic() < end and self._process.poll() is None:
                try:
                    if http.get(f"{self.url}/livez").status_code == httpx.codes.OK:
                        return
                except httpx.TransportError:
                    pass  # not listening yet
                time.sleep(0.05)
        raise RuntimeError(f"{self.program} was not ready within {READY_WITHIN_S:.0f} s:\n{self.log()}")

    def log(self) -> str:
        """What the balancer printed and logged."""
        files = [self._folder / name for name in ("out.log", "error.log")]
        return "\n".join(file.read_text(errors="replace")[-8_000:] for file in files if file.exists())

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
