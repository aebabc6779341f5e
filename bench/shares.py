"""Gives processes a share of a core, as a machine with slower cores would, so that a hub has none to spare and the generator does.

It needs the CPU controller of cgroups, version 1 or 2, and the right to make a group there: root, outside of most containers.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

PERIOD_US = 10_000
"""Microseconds in which a group uses up its share: so few that nobody waits for long."""

_ROOT = Path("/sys/fs/cgroup")


def _made(name: str) -> Path | None:
    """A new group under whichever hierarchy has the CPU controller; None if there is none, or it may not be changed."""
    for parent in (_ROOT / "cpu", _ROOT):
        group = parent / name
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / "cpu.cfs_quota_us").exists() or (group / "cpu.max").exists():
            return group
        group.rmdir()
    return None


def _limit(group: Path, share: float) -> None:
    quota = int(PERIOD_US * share)
    if (group / "cpu.max").exists():
        (group / "cpu.max").write_text(f"{quota} {PERIOD_US}")
        return
    (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
    (group / "cpu.cfs_quota_us").write_text(str(quota))


@contextmanager
def shares(pids: Iterable[int], share: float) -> Iterator[bool]:
    """Let each process, with its threads, use at most ``share`` of a core until the end of the block. Yields whether that can be done."""
    groups: list[Path] = []
    held: list[int] = []
    try:
        for pid in pids:
            group = _made(f"hub-bench-{os.getpid()}-{pid}")
            if group is None:
                yield False
                return
            groups.append(group)
            _limit(group, share)
            (group / "cgroup.procs").write_text(str(pid))
            held.append(pid)
        yield True
    finally:
        for group, pid in zip(groups, held, strict=False):
            (group.parent / "cgroup.procs").write_text(str(pid))
        for group in groups:
            group.rmdir()
