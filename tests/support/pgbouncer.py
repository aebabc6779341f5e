"""A real PgBouncer in transaction mode, in front of the tests' PostgreSQL."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tests.support.hub_process import free_port

READY_WITHIN_S = 20.0
POOL_SIZE = 2
"""Server connections of one database: fewer than the clients of a hub, so that each transaction may get another one."""

_CONFIGURATION = """
[databases]
* = host={server} user=postgres

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {pool}
max_client_conn = 200
server_round_robin = 1
ignore_startup_parameters = extra_float_digits
logfile = {folder}/pgbouncer.log
pidfile =
{user}
"""


def why_no_pgbouncer() -> str | None:
    """None when PgBouncer can run here, else what is missing."""
    return None if _program() else "pgbouncer is not installed: Debian's package is pgbouncer"


def _program() -> str | None:
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


class PgBouncer:
    """Listens on a loopback port; ``server`` is the folder of PostgreSQL's socket. Every database is reached by its name."""

    def __init__(self, server: Path) -> None:
        # not pytest's folder: as root it runs as a user of its own, who could not reach it
        self._folder = Path(tempfile.mkdtemp(prefix="hub-pgbouncer-"))
        self._folder.chmod(0o777)
        self.port = free_port()
        configuration = self._folder / "pgbouncer.ini"
        # as root it must become somebody else: the owner of PostgreSQL's socket, whom alone that lets in
        user = f"user = {server.owner()}" if os.getuid() == 0 else ""
        configuration.write_text(_CONFIGURATION.format(server=server, port=self.port, folder=self._folder, pool=POOL_SIZE, user=user))
        self._process = subprocess.Popen(
            [str(_program()), "-q", str(configuration)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._wait()

    def url(self, database: str) -> str:
        """The URL of a database behind it, as the hub's setting ``database_url`` takes it."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def _wait(self) -> None:
        until = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < until and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)  # not listening yet
        log = self._folder / "pgbouncer.log"
        self.close()
        raise RuntimeError(f"pgbouncer was not ready:\n{log.read_text() if log.exists() else ''}")

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)
        shutil.rmtree(self._folder, ignore_errors=True)
