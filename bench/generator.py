"""The load generator and the program that measures the limit of the kernel: C programs that are compiled at their first use."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).parent / "native"
BUILT = Path(__file__).parents[1] / "build" / "bench"
GENERATOR = ("clock.c", "buffer.c", "wire.c", "session.c", "protocol.c", "generator.c")
LIMIT = ("limit.c",)
FLAGS = ("-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror")

Answer = dict[str, Any]


def compiled(name: str, sources: tuple[str, ...]) -> Path:
    """Return a program of ``bench/native``, compiled again if its sources have changed.

    Raises:
        SystemExit: there is no C compiler, or it refuses the sources.
    """
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise SystemExit("the benchmarks need a C compiler: install gcc or clang, or name one in CC")
    text = b"".join(path.read_bytes() for path in sorted(SOURCES.iterdir()))
    program = BUILT / f"{name}-{hashlib.sha256(text).hexdigest()[:16]}"
    if not program.exists():
        BUILT.mkdir(parents=True, exist_ok=True)
        made = program.with_suffix(f".{os.getpid()}")
        done = subprocess.run(
            [compiler, *FLAGS, "-o", str(made), *(str(SOURCES / source) for source in sources)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{compiler} refuses bench/native:\n{done.stderr}")
        made.rename(program)
    return program


def pinned(core: int | None) -> list[str]:
    """Return the beginning of a command that stays on one core; empty if there is only one core, or no ``taskset``."""
    return [] if core is None or (os.cpu_count() or 1) < 2 or shutil.which("taskset") is None else ["taskset", "-c", str(core)]


class Generator:
    """The process that opens sessions, publishes and counts. ``bench/native/generator.c`` has its commands."""

    def __init__(self, core: int | None = 1) -> None:
        program = compiled("generator", GENERATOR)
        self._process = subprocess.Popen([*pinned(core), str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def give_way(self) -> None:
        """Have it take only the time that nobody else wants of its core: whoever measures latency there does not wait for it."""
        os.sched_setscheduler(self.pid, os.SCHED_IDLE, os.sched_param(0))

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def __call__(self, command: str, **words: object) -> Answer:
        """Run one command. ``from_`` and ``to`` name groups.

        Raises:
            SystemExit: the generator gave up; it has said why.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = command + "".join(f" {key.rstrip('_')}={value}" for key, value in words.items())
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise SystemExit(f"the load generator gave up at: {line}")
        found: Answer = json.loads(answer)
        return found

    def close(self) -> None:
        """End the process, and all its connections."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
