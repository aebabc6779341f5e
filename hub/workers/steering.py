"""Which workers get new connections.

All sockets of the workers are bound to one port, and the kernel chooses one for each connection by the addresses of both ends. It knows
nothing of workers: a socket whose worker is dead, hangs, or has not started yet, gets its part, and those connections wait. So while a
worker does not serve the parent gives the kernel a program (``SO_ATTACH_REUSEPORT_CBPF``, socket(7)) that chooses among the other ones by
chance.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence
from typing import Final

import structlog

_ATTACH: Final = 51
"""``SO_ATTACH_REUSEPORT_CBPF`` (asm-generic/socket.h)."""
_DETACH: Final = 68
"""``SO_DETACH_REUSEPORT_BPF``."""

# classic BPF: linux/bpf_common.h and linux/filter.h
_LOAD: Final = 0x20
"""``BPF_LD | BPF_W | BPF_ABS``."""
_RANDOM: Final = 0xFFFFF000 + 56
"""``SKF_AD_OFF + SKF_AD_RANDOM``: a random number."""
_MODULO: Final = 0x94
"""``BPF_ALU | BPF_MOD | BPF_K``."""
_SKIP_UNLESS_EQUAL: Final = 0x15
"""``BPF_JMP | BPF_JEQ | BPF_K``."""
_RETURN: Final = 0x06
"""``BPF_RET | BPF_K``."""
_NOBODY: Final = 0xFFFFFFFF
"""A number that no socket has: the kernel chooses as without a program."""

_log: Final = structlog.get_logger(__name__)


def program(indices: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """The instructions that choose one of ``indices`` by chance, each as code, the two jumps, and the number."""
    choose = [(_LOAD, 0, 0, _RANDOM), (_MODULO, 0, 0, len(indices))]
    for place, index in enumerate(indices):
        choose += [(_SKIP_UNLESS_EQUAL, 0, 1, place), (_RETURN, 0, 0, index)]
    return [*choose, (_RETURN, 0, 0, _NOBODY)]


class Steering:
    """Leads new connections to the workers that serve. Connections that a socket has taken stay there."""

    __slots__ = ("_serving", "_sockets", "works")

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        """``sockets`` must begin to listen in this order: the kernel numbers them by that."""
        self._sockets = tuple(sockets)
        self._serving: set[int] = set()
        self.works = True
        """Whether the kernel takes the program, as far as is known."""

    def serves(self, index: int, serving: bool) -> None:
        """A worker begins to serve, or does so no more. With nobody left connections wait at any socket."""
        before = frozenset(self._serving)
        if serving:
            self._serving.add(index)
        else:
            self._serving.discard(index)
        if self._serving != before and self.works:
            self._apply()

    def _apply(self) -> None:
        first = self._sockets[0]
        try:
            if len(self._serving) in {0, len(self._sockets)}:
                first.setsockopt(socket.SOL_SOCKET, _DETACH, struct.pack("i", 0))
                return
            code = b"".join(struct.pack("=HBBI", *each) for each in program(sorted(self._serving)))
            kept = ctypes.create_string_buffer(code, len(code))
            first.setsockopt(socket.SOL_SOCKET, _ATTACH, struct.pack("@HP", len(code) // 8, ctypes.addressof(kept)))
        except FileNotFoundError:
            pass  # there was no program to detach
        except OSError as error:  # a sandbox that does not let it
            self.works = False
            _log.warning("connections_not_steered", error=str(error), effect="connections to a worker that does not serve wait for it")
