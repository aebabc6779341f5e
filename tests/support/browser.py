"""Debian's Chromium, as the tests start it."""

from __future__ import annotations

import shutil
from typing import Final

_PROGRAMS: Final = "chromium-headless-shell", "chromium"
"""The first that is there is taken. The shell is the same engine without the window around it: a page in a fresh profile takes 0.15 s of
CPU, in the whole browser four times as much.
"""

FLAGS: Final = [
    "--no-sandbox",  # Chromium refuses to run its sandbox as root, as CI does
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # a page that the test fulfils itself comes from no address, which these checks take for a foreign network
    "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests",
]

NOT_INSTALLED: Final = "Chromium is not installed: Debian's package is chromium-headless-shell"


def chromium() -> str | None:
    """The path of Chromium, or None."""
    return next((path for path in map(shutil.which, _PROGRAMS) if path), None)
