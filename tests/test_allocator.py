"""How many arenas of the C library test processes have: in runs of their own, of a file made for it."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from tests.support.allocator import start_as_usual, start_with_one_arena
from tests.test_run_report import run

ARENAS = """
import ctypes, os, threading

def test_arenas(tmp_path):
    together = threading.Barrier(5)
    threads = [threading.Thread(target=together.wait) for _ in range(4)]
    for each in threads:
        each.start()
    together.wait()
    libc = ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    file = ctypes.c_void_p(libc.fopen(os.fsencode(tmp_path / "arenas.xml"), b"w"))
    assert libc.malloc_info(0, file) == libc.fclose(file) == 0
    assert (tmp_path / "arenas.xml").read_text().count("<heap ") == 1
    assert "MALLOC_ARENA_MAX" not in os.environ
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="only glibc has arenas")
@pytest.mark.parametrize("workers", ["0", "1"])
def test_threads_of_a_test_process_share_one_and_what_it_starts_has_as_many_as_usual(tmp_path: Path, workers: str) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_arenas.py").write_text(ARENAS)
    code, output = run(tmp_path, "-n", workers)
    assert code == 0, output


def test_somebody_may_choose_another_number() -> None:
    environment = {"MALLOC_ARENA_MAX": "2"}
    start_with_one_arena(environment)
    assert environment == {"MALLOC_ARENA_MAX": "2"}
    start_as_usual(environment)
    assert environment == {}
