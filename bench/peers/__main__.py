"""``python -m bench.peers NAME``: install a peer where that is needed, and run it until Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import sys

from bench.peers.servers import STARTS
from tests.conformance.peers.servers import ToolchainError

EPILOG = """examples:
  python -m bench.peers faye                  on any free port, which it prints
  python -m bench.peers cometd-java --port 9000
"""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=STARTS)
    parser.add_argument("--port", type=int, help="port to listen on; any free one without it")
    given = parser.parse_args()
    print(f"{given.name}: installing what is missing", file=sys.stderr)
    try:
        peer = STARTS[given.name](given.port)
    except ToolchainError as error:
        raise SystemExit(f"{given.name} cannot run here: {error}") from None
    print(f"{peer.name} listens on 127.0.0.1:{peer.port}, process {peer.pid}; Ctrl-C ends it", flush=True)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            raise SystemExit(f"{peer.name} ended with code {peer.wait()}")
    finally:
        peer.close()


if __name__ == "__main__":
    main()
