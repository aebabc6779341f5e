"""The files of deploy/: they are of their schemas, name settings that the hub has, and fit to one another."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.balancer import DEPLOY, PROGRAMS, configuration, why_no_balancer

ROOT = DEPLOY.parent
KUBERNETES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
COMPOSE = DEPLOY / "compose.yaml"
SECRETS = {"HUB_SECRET": "of-the-tests-alone-0123456789", "POSTGRES_PASSWORD": "of-the-tests"}


def tool(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name(name)), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def resources() -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every resource of the manifests, with its file."""
    for path in KUBERNETES:
        for resource in yaml.safe_load_all(path.read_text()):
            if resource["kind"] != "Kustomization":
                yield path, resource


def resource(kind: str, name: str) -> dict[str, Any]:
    (found,) = (each for _, each in resources() if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return found


def compose_services() -> dict[str, Any]:
    text = COMPOSE.read_text()
    for name, value in SECRETS.items():
        text = re.sub(rf"\$\{{{name}:\?[^}}]*\}}", value, text)
    services: dict[str, Any] = yaml.safe_load(text)["services"]
    return services


# -- schemas ------------------------------------------------------------------------------------------------------------


def test_the_compose_file_is_of_its_schema() -> None:
    done = tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("path", "found"), [pytest.param(path, found, id=f"{path.stem}-{found['kind']}") for path, found in resources()])
def test_the_manifests_are_of_their_schemas(path: Path, found: dict[str, Any]) -> None:
    import kubernetes_validate  # here, since it imports jsonschema: tests/channels/json_schemas.py

    kubernetes_validate.validate(found, kubernetes_validate.latest_version(), strict=True)


def test_each_manifest_is_applied_but_the_secret() -> None:
    listed = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())["resources"]
    assert set(listed) == {path.name for path in KUBERNETES} - {"kustomization.yaml", "secret.example.yaml"}


def test_the_dockerfile_has_nothing_that_a_linter_finds() -> None:
    done = tool("hadolint", "Dockerfile")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_image_runs_as_nobody_special_and_holds_what_it_copies() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["10001:10001"]
    copied = [name for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE) for name in line.split()]
    kept = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert [name for name in copied if not (ROOT / name).exists() or name not in kept] == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_balancers_take_their_files(program: str, tmp_path: Path) -> None:
    if why := why_no_balancer(program):
        pytest.skip(why)
    file = tmp_path / "file"
    file.write_text(configuration(program, tmp_path, 1, [1, 2, 3]))
    command = {"nginx": ["nginx", "-t", "-e", "stderr", "-c", str(file)], "haproxy": ["haproxy", "-c", "-f", str(file)]}[program]
    if program == "nginx":
        command += ["-g", f"pid {tmp_path}/pid; error_log stderr;"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr.lower()


def test_the_hubs_of_compose_differ_in_their_names_alone() -> None:
    services = compose_services()
    hubs = [services[f"hub{number}"] for number in (1, 2, 3)]
    assert [re.sub(r"hub\d|172\.30\.80\.1\d", "hub", str(each)) for each in hubs] == [
        re.sub(r"hub\d|172\.30\.80\.1\d", "hub", str(hubs[0]))
    ] * 3
    assert [list(each.get("ports", [])) for each in hubs] == [[]] * 3  # clients come by the balancer alone


def test_compose_starts_nothing_without_its_secrets() -> None:
    for name in SECRETS:
        assert set(re.findall(rf"\$\{{{name}([^}}]*)\}}", COMPOSE.read_text())) == {
            {"HUB_SECRET": ":?make one with openssl rand -hex 32", "POSTGRES_PASSWORD": ":?make one with openssl rand -hex 16"}[name]
        }


def test_a_secret_that_nobody_filled_in_starts_no_hub() -> None:
    secret = resource("Secret", "hub")
    assert secret["stringData"] == {"secret": "", "database-url": ""}


# -- parts that must fit ------------------------------------------------------------------------------------------------


def test_whoever_selects_pods_selects_those_of_the_hub() -> None:
    deployment = resource("Deployment", "hub")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        resource("Service", "hub")["spec"]["selector"],
        resource("PodDisruptionBudget", "hub")["spec"]["selector"]["matchLabels"],
        resource("NetworkPolicy", "hub")["spec"]["podSelector"]["matchLabels"],
    ]
    assert [selector for selector in selectors if not selector.items() <= labels.items()] == []
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image.rpartition(":")[2] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_probes_are_those_that_the_hub_has() -> None:
    (container,) = resource("Deployment", "hub")["spec"]["template"]["spec"]["containers"]
    assert {kind: container[kind]["httpGet"]["path"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")} == {
        "startupProbe": "/livez",
        "livenessProbe": "/livez",
        "readinessProbe": "/readyz",
    }


def test_every_redis_keeps_what_it_acknowledged_and_evicts_nothing() -> None:
    (container,) = resource("StatefulSet", "redis")["spec"]["template"]["spec"]["containers"]
    for command in (compose_services()["redis"]["command"], container["args"]):
        text = " ".join(command)
        assert "--appendonly yes" in text
        assert "--appendfsync always" in text
        assert "--maxmemory-policy noeviction" in text


def test_nothing_is_sticky() -> None:
    texts = {path: path.read_text() for path in [*DEPLOY.glob("*.*"), *KUBERNETES] if path.suffix != ".md"}
    sticky = re.compile(r"ip_hash|^\s*hash |sticky;|stick-table|balance source|cookie \w+ insert|ClientIP|affinity: cookie", re.MULTILINE)
    assert [path.name for path, text in texts.items() if sticky.search(text)] == []
    assert resource("Service", "hub")["spec"]["sessionAffinity"] == "None"
