"""Makes docs/licences.md: the packages of requirements.lock, which are installed with the hub, and their licences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Final, NamedTuple

from packaging.markers import Marker

LOCK: Final = Path(__file__).parents[1] / "requirements.lock"

_ENTRY: Final = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;]+)(?:\s*;\s*(?P<marker>[^\\]+?))?\s*\\?")
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_CLASSIFIER: Final = "License :: OSI Approved :: "
_SHORT: Final = 60
"""Characters of a licence's name at most: some packages have the whole text where the name belongs."""


class Locked(NamedTuple):
    """One entry of the lock file."""

    name: str
    version: str
    marker: str
    """Where it is installed; empty for everywhere."""
    hashes: tuple[str, ...]

    @property
    def is_for_here(self) -> bool:
        """Whether it is installed on a system such as this one."""
        return not self.marker or Marker(self.marker).evaluate()


def locked(text: str) -> Iterator[Locked]:
    """The entries of a lock file.

    Raises:
        ValueError: a line is neither an entry, nor a hash of one, nor a comment.
    """
    entry: re.Match[str] | None = None
    hashes: list[str] = []
    for number, line in enumerate([*text.splitlines(), ""], 1):
        if entry is not None and (found := _HASH.match(line.strip())) is not None:
            hashes.append(found[1])
            continue
        if entry is not None:
            yield Locked(entry["name"], entry["version"], (entry["marker"] or "").strip(), tuple(hashes))
            entry, hashes = None, []
        if not line or line.startswith("#"):
            continue
        entry = _ENTRY.fullmatch(line)
        if entry is None:
            raise ValueError(f"{LOCK.name}, line {number}: expected NAME==VERSION, got {line[:120]!r}")


def licence_of(name: str) -> str:
    """The licence that an installed package names: its expression (PEP 639), or its classifiers, or what it calls it.

    Raises:
        LookupError: the package is not installed, or names none.
    """
    try:
        told = metadata(name)
    except PackageNotFoundError:
        raise LookupError(f"{name}: expected the package to be installed, got none; run `make lint`") from None
    classifiers = [each.removeprefix(_CLASSIFIER) for each in told.get_all("Classifier") or () if each.startswith(_CLASSIFIER)]
    called = (told.get("License") or "").strip()
    found = told.get("License-Expression") or ", ".join(sorted(classifiers)) or (called if len(called) <= _SHORT else "")
    if not found:
        raise LookupError(f"{name}: expected a licence in its metadata, got none: read its files, and say here what they say")
    return found


def homepage_of(name: str) -> str:
    """Where an installed package is developed; empty if it does not say."""
    told = metadata(name)
    urls = dict(re.split(r",\s*", each, maxsplit=1) for each in told.get_all("Project-URL") or ())
    lower = {label.lower(): url for label, url in urls.items()}
    return next((lower[label] for label in ("source", "source code", "repository", "github", "homepage") if label in lower), "")


def rows() -> list[list[str]]:
    """The packages that are installed on Linux with CPython, each with version and licence."""
    found = []
    for each in locked(LOCK.read_text("utf-8")):
        if each.is_for_here:
            url = homepage_of(each.name)
            found.append([f"[{each.name}]({url})" if url else each.name, each.version, licence_of(each.name)])
    return found
