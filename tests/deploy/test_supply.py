"""What a release is built from: the lock files agree with pyproject.toml and constraints.txt, and name nothing of one machine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.licences import Locked, licence_of, locked, rows

ROOT = Path(__file__).parents[2]
LOCKS = ["requirements.lock", "requirements-build.lock"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def read(name: str) -> dict[str, Locked]:
    return {canonicalize_name(each.name): each for each in locked((ROOT / name).read_text())}


def constraints() -> dict[str, str]:
    lines = [line.partition("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    return {canonicalize_name(name): version for name, _, version in lines}


def needed(roots: list[str]) -> set[str]:
    """What is installed here because of some requirements, by the metadata of what is installed."""
    found: set[str] = set()
    todo = [Requirement(each) for each in roots]
    while todo:
        asked = todo.pop()
        name = canonicalize_name(asked.name)
        for text in requires(asked.name) or ():
            one = Requirement(text)
            wanted = one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *asked.extras))
            if wanted and canonicalize_name(one.name) not in found | {name}:
                todo.append(one)
        found.add(name)
    return found


@pytest.mark.parametrize(
    ("lock", "roots"),
    [("requirements.lock", PROJECT["project"]["dependencies"]), ("requirements-build.lock", PROJECT["build-system"]["requires"])],
)
def test_a_lock_file_has_what_the_project_needs_and_nothing_else(lock: str, roots: list[str]) -> None:
    entries = read(lock)
    assert {name for name, each in entries.items() if each.is_for_here} == needed(roots)
    for root in map(Requirement, roots):
        assert root.specifier.contains(entries[canonicalize_name(root.name)].version), root


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_has_the_versions_that_are_tested_each_with_its_hashes(lock: str) -> None:
    tested = constraints()
    for name, each in read(lock).items():
        assert each.version == tested.get(name, each.version), f"{name}: run `make lock`"
        assert name in tested or not each.is_for_here, name
        assert each.hashes, name
        assert len(set(each.hashes)) == len(each.hashes), name


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_names_no_address_and_no_option_but_hashes(lock: str) -> None:
    for line in (ROOT / lock).read_text().splitlines():
        assert "://" not in line
        assert line.startswith("#") or not re.search(r"--(?!hash=sha256:)", line), line


def test_a_line_that_is_no_entry_is_refused() -> None:
    with pytest.raises(ValueError, match="line 3: expected NAME==VERSION, got 'rich>=15'"):
        list(locked(f"uvloop==1 \\\n    --hash=sha256:{'0' * 64}\nrich>=15\n"))


def test_the_image_installs_by_hash_alone() -> None:
    text = (ROOT / "Dockerfile").read_text()
    installs = re.findall(r"pip install ([^&\n]+)", text)
    assert len(installs) == 3
    for each in installs:
        assert "--require-hashes" in each or {"--no-deps", "--no-index"} <= set(each.split()), each
    for name in LOCKS:
        assert f"!{name}\n" in (ROOT / ".dockerignore").read_text()


def test_every_package_names_a_licence_that_allows_to_use_it() -> None:
    known = re.compile(r"Apache|BSD|MIT|MPL|Python Software Foundation|PSF|ISC|LGPL|Unlicense|Zlib")
    for name, _, licence in rows():
        assert known.search(licence), (name, licence)


def test_a_package_that_is_not_there_is_told() -> None:
    with pytest.raises(LookupError, match="no-such-package: expected the package to be installed"):
        licence_of("no-such-package")


@pytest.mark.timeout(600)
@pytest.mark.skipif(find_spec("cyclonedx_py") is None, reason="cyclonedx-bom is not installed: make dist installs it")
def test_the_sbom_lists_what_is_installed_with_licences_and_what_needs_what(tmp_path: Path) -> None:
    """As `make dist` makes it, of the environment of the tests, for which nothing is fetched."""
    out = tmp_path / "bom.json"
    tool = [sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", str(ROOT / "pyproject.toml"), "--output-reproducible"]
    subprocess.run([*tool, "--of", "JSON", "--no-validate", "-o", str(out), sys.executable], check=True, capture_output=True)
    bom = json.loads(out.read_text())
    components = {canonicalize_name(each["name"]): each for each in bom["components"]}
    assert bom["metadata"]["component"]["name"] == PROJECT["project"]["name"]
    for name, each in read("requirements.lock").items():
        if each.is_for_here:
            assert components[name]["version"] == each.version
            assert components[name]["licenses"], name
    by_ref = {each["ref"]: each.get("dependsOn", []) for each in bom["dependencies"]}
    assert components["starlette"]["bom-ref"] in by_ref[components["fastapi"]["bom-ref"]]
