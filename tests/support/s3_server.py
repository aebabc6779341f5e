"""A real server of S3's protocol, versitygw, which checks every signature. It has a folder of its own, and a test may end, stop and start
it again.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx

from tests.support.redis_server import free_port

PROGRAM: Final = Path(sys.prefix) / "go" / "versitygw"
READY_WITHIN_S: Final = 30.0

KEY_ID: Final = "AKIAHUBTESTS"
SECRET: Final = "a secret of the tests alone"
REGION: Final = "eu-central-1"


def why_no_s3() -> str | None:
    """None when such a server can run here, else what is missing."""
    return None if PROGRAM.exists() else f"versitygw is not installed: make installed builds it, with Go, into {PROGRAM}"


class S3Server:
    """One server. Its files stay in its folder while it is down, and it keeps its port."""

    def __init__(self, *options: str, start: bool = True) -> None:
        """``options`` as on the command line, before the name of the backend."""
        self.folder = Path(tempfile.mkdtemp(prefix="hub-s3-"))
        self.port = free_port()
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("buckets", "attributes"):
            (self.folder / name).mkdir()
        if start:
            self.start()

    @property
    def url(self) -> str:
        """As the setting ``objects.endpoint`` takes it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, with what it kept; returns when it answers."""
        command = [str(PROGRAM), "--port", f"127.0.0.1:{self.port}", "--region", REGION, "--quiet", "--health", "/health", *self._options]
        # the attributes of objects lie beside them: not every file system has its own
        command += ["posix", "--sidecar", str(self.folder / "attributes"), str(self.folder / "buckets")]
        environment = {"PATH": os.environ["PATH"], "ROOT_ACCESS_KEY": KEY_ID, "ROOT_SECRET_KEY": SECRET}
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < until and self._process.poll() is None:
            try:
                httpx.get(f"{self.url}/health", timeout=5).raise_for_status()
                return
            except httpx.TransportError:
                time.sleep(0.02)  # not listening yet
        text = (self.folder / "log").read_text()
        self.close()
        raise RuntimeError(f"versitygw was not ready:\n{text}")

    def client(self) -> Any:
        """A client of the test's own: that of boto3."""
        import boto3  # imported here: half a second, which few tests need
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=KEY_ID,
            aws_secret_access_key=SECRET,
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )

    def bucket(self, begin: str = "files") -> str:
        """Make a bucket of a new name. Returns it."""
        name = f"{begin}-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name

    def settings(self, bucket: str, folder: str = "hub", **more: Any) -> Mapping[str, Any]:
        """The section ``objects`` of the settings of a hub whose files lie in this bucket."""
        url = f"s3://{bucket}/{folder}" if folder else f"s3://{bucket}"
        keys = {"access_key_id": KEY_ID, "secret_access_key": SECRET}
        return {"url": url, "endpoint": self.url, "region": REGION, **keys, **more}

    def kill(self) -> None:
        """End it at once, as a fault would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def stall(self) -> None:
        """It answers nothing, and holds its connections."""
        os.kill(self.pid, signal.SIGSTOP)

    def wake(self) -> None:
        """It answers again."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """End it and remove its folder."""
        if self._process is not None and self._process.poll() is None:
            self.wake()
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
