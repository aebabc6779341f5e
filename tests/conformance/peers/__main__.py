"""``python -m tests.conformance.peers NAME --port N [--timeout-ms N] [--max-interval-ms N]``: run another Bayeux server in the foreground.

It is built or installed on first use. It prints one line when it is ready, and ends on SIGTERM.
"""

from __future__ import annotations

import argparse
import os
import sys

from tests.conformance.peers.servers import PEERS, ToolchainError


def main() -> None:
    """Make the server ready, and become it, so that signals reach it."""
    by_name = {peer.name: peer for peer in PEERS}
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.peers", description=__doc__)
    parser.add_argument("name", choices=by_name)
    parser.add_argument("--port", type=int, default=8081)
    parser.add_argument("--timeout-ms", type=int, default=20_000, help="how long a connect is held (default: %(default)s)")
    parser.add_argument("--max-interval-ms", type=int, default=10_000, help="how long a session without a connect lives; Faye has none")
    options = parser.parse_args()
    peer = by_name[options.name]
    try:
        peer.prepare()
    except ToolchainError as fault:
        sys.exit(f"{peer.name}: {fault}")
    command = peer.command(options.port, options.timeout_ms, options.max_interval_ms)
    os.execvp(command[0], command)  # arguments of our own, no shell


if __name__ == "__main__":
    main()
