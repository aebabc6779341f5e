"""Which files are the project's own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

IGNORED_FOLDERS = frozenset({".venv", "node_modules", "__pycache__", ".git"})


def tracked(root: Path) -> list[Path]:
    """The files of the project below ``root``: what git would commit, or in a copy without git all files outside the ignored folders.

    Raises:
        subprocess.CalledProcessError: git is there and fails.
    """
    git = shutil.which("git")
    if git and (root / ".git").exists():
        command = [git, "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.split("\0")  # noqa: S603
        return [root / name for name in names if name and (root / name).is_file()]
    return [path for path in root.rglob("*") if path.is_file() and IGNORED_FOLDERS.isdisjoint(path.parts)]
