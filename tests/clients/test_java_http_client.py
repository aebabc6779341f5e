"""Java's own HTTP client, which offers HTTP/2 by ``Upgrade: h2c`` with the first request on each connection."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.hub_process import HubProcess

PROGRAM = Path(__file__).with_name("java") / "PlainClient.java"


def test_javas_own_client(demo_hub: HubProcess) -> None:
    java = shutil.which("java")
    if java is None:
        pytest.skip("java is not installed: Debian's package is default-jdk-headless")
    run = subprocess.run([java, str(PROGRAM), demo_hub.url], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    lines = {line.split(" ", 1)[0]: line for line in run.stdout.splitlines()}
    assert {what: line.split(" ")[1] for what, line in lines.items()} == {
        "handshake": "200",
        "chunked": "200",
        "asked": "200",
        "large": "200",
        "websocket": "101",
    }
    for what in ("handshake", "chunked", "asked"):
        assert '"successful":true' in lines[what]
    assert '"accepted":5000' in lines["large"]
    assert '"type":"welcome"' in lines["websocket"]
