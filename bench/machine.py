"""Reads CPU time and memory of processes, and a description of the machine."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable
from pathlib import Path


def children(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            found += children(int(child))
    return found


def cpu_us(pid: int) -> float:
    """Return the CPU time of a process, its threads and its children, in microseconds."""
    total = 0
    for each in children(pid):
        for thread in Path(f"/proc/{each}/task").iterdir():
            try:
                total += int((thread / "schedstat").read_text().split()[0])
            except FileNotFoundError:  # the thread has ended meanwhile
                continue
    return total / 1000


def whole_cpu_us(pid: int) -> float:
    """Return the CPU time of one process and of all threads that it ever had, in microseconds. It goes in steps of 10 ms;
    :func:`cpu_us` is finer, and knows nothing of threads that have ended, as those of argon2.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1e6 / os.sysconf("SC_CLK_TCK")


def resident_kib(pid: int) -> int:
    """Return the resident memory of a process and its children, in KiB."""
    total = 0
    for each in children(pid):
        status = Path(f"/proc/{each}/status").read_text()
        total += next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0)
    return total


def pin(pid: int, core: int) -> None:
    """Keep a process and its threads on one core, if the machine has several."""
    if (os.cpu_count() or 1) < 2:
        return
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def described() -> str:
    """Describe the machine in one line."""
    processor = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in processor if line.startswith("model name")), platform.machine())
    memory = next(int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    kernel = platform.release().split("-")[0]
    return f"{os.cpu_count()} cores of {model}, {memory / 1024 / 1024:.0f} GiB, Linux {kernel}, Python {platform.python_version()}"


def median(values: Iterable[float]) -> float:
    """Return the median."""
    return statistics.median(values)
