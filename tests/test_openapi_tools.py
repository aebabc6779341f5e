"""Linters and code generators that people run on ``/openapi.json``: none finds an error, and none leaves an operation out."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.hub_process import HubProcess

ROOT = Path(__file__).parents[1]
NODE_TOOLS = ROOT / "tests" / "clients" / "node" / "node_modules" / ".bin"
GENERATORS = Path(sys.prefix) / "generators" / "bin"
"""An environment of its own: its packages are other versions than the hub's. ``make test`` makes it."""
METHODS = {"get", "put", "post", "delete", "patch"}
IDS = Path(__file__).with_name("openapi_operations.json")
WITHIN_S = 120


@pytest.fixture(scope="module")
def document(demo_hub: HubProcess) -> dict[str, Any]:
    found: dict[str, Any] = demo_hub.get("/openapi.json").json()
    return found


@pytest.fixture(scope="module")
def file(document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("openapi") / "openapi.json"
    path.write_text(json.dumps(document))
    return path


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every operation, by method and path."""
    return {
        f"{method.upper()} {path}": operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """A tool that is not on the path by itself; its own folder is, for what it calls."""
    environment = os.environ | {"PATH": f"{Path(command[0]).parent}{os.pathsep}{os.environ['PATH']}", "REDOCLY_TELEMETRY": "off"}
    return subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False, env=environment)


def tool(folder: Path, name: str) -> Path:
    if shutil.which("node") is None and folder == NODE_TOOLS:
        pytest.skip("Node.js is not installed")
    if not (folder / name).exists():
        pytest.skip(f"{name} is not installed: `make test` installs it")
    return folder / name


def nested(node: Any, visit: Callable[[dict[str, Any]], None]) -> None:
    if isinstance(node, dict):
        visit(node)
        for value in node.values():
            nested(value, visit)
    elif isinstance(node, list):
        for value in node:
            nested(value, visit)


# -- what the document itself says -----------------------------------------------------------------------------------------------


def test_schemas_have_names_of_their_own_without_modules(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert [name for name in schemas if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", name)] == []
    assert [name for name, schema in schemas.items() if schema["title"] != name] == []
    assert not re.search(r"\b(hub|channels)(__|\.)\w", json.dumps(document["components"]))


def test_no_other_schema_has_a_title(document: dict[str, Any]) -> None:
    titles: list[str] = []
    nested(document, lambda node: titles.append(node["title"]) if isinstance(node.get("title"), str) else None)
    assert sorted(titles) == sorted([document["info"]["title"], *document["components"]["schemas"]])


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references: set[str] = set()
    nested(document, lambda node: references.add(node["$ref"]) if isinstance(node.get("$ref"), str) else None)
    assert {each.rpartition("/")[2] for each in references} <= document["components"]["schemas"].keys()


def test_each_operation_names_its_security(document: dict[str, Any]) -> None:
    schemes = document["components"]["securitySchemes"].keys()
    assert [name for name, each in operations(document).items() if "security" not in each] == []
    assert {scheme for each in operations(document).values() for way in each["security"] for scheme in way} == schemes


def test_operations_without_a_credential_are_those_that_are_meant_to_be(document: dict[str, Any]) -> None:
    assert {name for name, each in operations(document).items() if each["security"] == []} == {
        "GET /livez",
        "GET /readyz",
        "POST /api/v1/sign-in",
        "POST /api/v1/sign-out",
        "GET /ingest/v1/schemas",
        "GET /ingest/v1/schemas/{event_type}",
        "GET /auth/v3/jwks.json",
        "GET /auth/v3/.well-known/openid-configuration",
        "GET /auth/v3/.well-known/oauth-authorization-server",
        "GET /.well-known/oauth-authorization-server/auth/v3",
    }


def test_messages_of_third_parties_name_the_headers_of_their_signature(document: dict[str, Any]) -> None:
    schemes = document["components"]["securitySchemes"]
    for name, each in operations(document).items():
        if name.partition(" ")[2].startswith("/nexus/v3/channels/"):
            ways = [{schemes[scheme]["name"].lower() for scheme in way} for way in each["security"] if way]
            assert ways == [{"x-ccid", "x-hub-signature-256"}, {"x-ccid", "x-hub-signature"}], name


def test_the_ids_of_operations_stay(document: dict[str, Any]) -> None:
    """Generated code calls operations so. A new operation is added to the file; one that is there keeps its id."""
    found = {name: operation["operationId"] for name, operation in operations(document).items()}
    assert len(set(found.values())) == len(found)
    assert found == json.loads(IDS.read_text())


# -- tools -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.node
def test_redocly_finds_no_error(file: Path) -> None:
    done = run(tool(NODE_TOOLS, "redocly"), "lint", str(file), "--extends=recommended", "--format=json")
    found = json.loads(done.stdout)
    assert found["totals"] | {"ignored": 0} == {"errors": 0, "warnings": 0, "ignored": 0}, found["problems"]
    assert done.returncode == 0, done.stderr


@pytest.mark.node
def test_openapi_typescript_has_every_operation(file: Path, document: dict[str, Any]) -> None:
    made = file.with_suffix(".d.ts")
    done = run(tool(NODE_TOOLS, "openapi-typescript"), str(file), "-o", str(made))
    assert done.returncode == 0, done.stderr
    text = made.read_text()
    missing = [each["operationId"] for each in operations(document).values() if f'operations["{each["operationId"]}"]' not in text]
    assert missing == []
    assert {name for name in document["components"]["schemas"] if f"        {name}: " not in text} == set()


def test_openapi_python_client_has_every_operation(file: Path, document: dict[str, Any]) -> None:
    made = file.with_name("client")
    done = run(
        tool(GENERATORS, "openapi-python-client"), "generate", "--path", str(file), "--output-path", str(made), "--overwrite", "--meta=none"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ERROR" not in done.stdout + done.stderr
    generated = [path.stem for path in made.glob("api/*/*.py") if path.stem != "__init__"]
    assert sorted(name.replace("_", "") for name in generated) == sorted(
        each["operationId"].lower() for each in operations(document).values()
    )
    checked = run(Path(sys.executable), "-m", "compileall", "-q", str(made))
    assert checked.returncode == 0, checked.stdout
