"""What the transports rely on inside uvicorn and websockets, which neither of them promises.

``pyproject.toml`` keeps both below their next minor version. With a new one this is the first test to run: each failure names what is gone,
and the lines that rely on it.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import tomllib
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.server import ServerProtocol

from hub.transports import file_sending, http_protocol, http_request, server, single_write, uvicorn_protocol
from hub.transports.file_sending import FileSendingCycle
from hub.transports.http_config import HubConfig
from hub.transports.http_protocol import HubHttpProtocol
from hub.transports.http_request import EndsByClosing, ReadFlow
from hub.transports.server import HubServer
from hub.transports.uvicorn_protocol import BoundedServerProtocol, HubWebSocketProtocol

ROOT = Path(__file__).parents[3]

DERIVED = [
    (HubHttpProtocol, HttpToolsProtocol),
    (HubWebSocketProtocol, WebSocketsSansIOProtocol),
    (BoundedServerProtocol, ServerProtocol),
    (ReadFlow, FlowControl),
    (EndsByClosing, RequestResponseCycle),
    (FileSendingCycle, RequestResponseCycle),
    (HubServer, uvicorn.Server),
    (HubConfig, uvicorn.Config),
]

SET_BY_US = {HubHttpProtocol: {"flow"}, HubWebSocketProtocol: {"close_timeout", "conn"}}
"""What our ``__init__`` and ``connection_made`` put in the place of an attribute that the base reads."""

CALLED_BY_THE_BASE = {
    HubHttpProtocol: {
        *("connection_made", "connection_lost", "data_received", "on_message_begin", "on_header", "on_headers_complete", "on_body"),
        *("on_message_complete", "on_response_complete", "_should_upgrade", "_start_asgi_task"),
    },
    HubWebSocketProtocol: {
        *(
            "connection_made",
            "connection_lost",
            "data_received",
            "handle_connect",
            "handle_ping",
            "handle_close",
            "pause_writing",
            "shutdown",
        ),
        *("resume_writing", "handle_parser_exception", "keepalive_timeout", "run_asgi", "schedule_ping", "send"),
        *("send_receive_event_to_app",),
    },
    BoundedServerProtocol: {"accept", "parse", "recv_frame", "reject"},
    ReadFlow: {"resume_reading"},
    EndsByClosing: {"send"},
    FileSendingCycle: {"send"},
    HubServer: {"capture_signals", "startup"},
    HubConfig: set[str](),
}
"""Methods of ours that take effect since the base, or its event loop, calls them by these names."""

VARIABLES = [
    (single_write, "cycle", RequestResponseCycle),
    (http_protocol, "cycle", RequestResponseCycle),
    (server, "server", uvicorn.Server),
]
"""Variables of a module that hold one of their objects."""


def members(kind: type) -> set[str]:
    """Methods, class attributes, and what the methods put into ``self``."""
    found = set(dir(kind))
    for base in kind.__mro__:
        if base.__module__ != "builtins":
            found |= {
                node.attr
                for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(base))))
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and getattr(node.value, "id", "") == "self"
            }
    return found


def uses(source: Any, variable: str) -> dict[str, list[int]]:
    """Attributes of a variable that are read or written, each with the lines, as the file counts them."""
    lines, start = inspect.getsourcelines(source)
    found = defaultdict(list)
    for node in ast.walk(ast.parse(textwrap.dedent("".join(lines)))):
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == variable:
            found[node.attr].append(node.lineno + max(start, 1) - 1)
    return found


def super_calls(kind: type) -> dict[str, list[int]]:
    """Methods of the base that are called, each with the lines."""
    lines, start = inspect.getsourcelines(kind)
    found = defaultdict(list)
    for node in ast.walk(ast.parse(textwrap.dedent("".join(lines)))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Call) and getattr(node.value.func, "id", "") == "super":
            found[node.attr].append(node.lineno + start - 1)
    return found


def ours(kind: type) -> set[str]:
    """What a class of ours brings itself: its methods, annotations and class attributes, and what its ``__init__`` sets."""
    lines = inspect.getsource(kind.__init__) if "__init__" in vars(kind) else "pass"  # type: ignore[misc]
    made = {
        node.attr
        for node in ast.walk(ast.parse(textwrap.dedent(lines)))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and getattr(node.value, "id", "") == "self"
    }
    return set(vars(kind)) | made


def places(module: ModuleType | str, found: dict[str, list[int]], missing: set[str]) -> list[str]:
    name = module if isinstance(module, str) else module.__name__
    return [f"{gone}: relied on by {name}, lines {', '.join(map(str, found[gone]))}" for gone in sorted(missing)]


@pytest.mark.parametrize(("derived", "base"), DERIVED, ids=[derived.__name__ for derived, _ in DERIVED])
def test_what_a_class_of_ours_uses_of_its_base_is_there(derived: type, base: type) -> None:
    there = members(base)
    used, called = uses(derived, "self"), super_calls(derived)
    gone = {name for name in used if name not in there and name not in ours(derived)} | (SET_BY_US.get(derived, set()) - there)
    assert places(derived.__module__, used, gone) == []
    assert places(derived.__module__, called, set(called) - there) == []


@pytest.mark.parametrize(("derived", "base"), DERIVED, ids=[derived.__name__ for derived, _ in DERIVED])
def test_what_the_base_calls_is_still_called_so(derived: type, base: type) -> None:
    """A method that replaces one of the base's has its parameters; one that the base no longer has would never be called."""
    wrong = []
    for name in sorted(CALLED_BY_THE_BASE[derived]):
        if not hasattr(base, name):
            wrong.append(f"{name}: {base.__name__} has none, {derived.__module__} replaces it")
            continue
        theirs, own = (list(inspect.signature(getattr(kind, name)).parameters) for kind in (base, derived))
        if len(theirs) != len(own):
            wrong.append(f"{name}: {base.__name__} takes {theirs}, {derived.__module__} {own}")
    assert wrong == []


@pytest.mark.parametrize(("derived", "base"), DERIVED, ids=[derived.__name__ for derived, _ in DERIVED])
def test_every_method_that_replaces_one_is_listed(derived: type, base: type) -> None:
    replaced = {name for name, value in vars(derived).items() if inspect.isfunction(value) and hasattr(base, name)} - {"__init__"}
    assert replaced - CALLED_BY_THE_BASE[derived] == set()


@pytest.mark.parametrize(("module", "variable", "kind"), VARIABLES, ids=[f"{m.__name__}-{v}" for m, v, _ in VARIABLES])
def test_what_a_module_uses_of_their_objects_is_there(module: ModuleType, variable: str, kind: type) -> None:
    used = uses(module, variable)
    assert used
    assert places(module, used, set(used) - members(kind)) == []


def test_a_member_that_is_gone_is_named_with_its_place() -> None:
    """The test itself: it would see that ``WebSocketsSansIOProtocol`` lost its ``read_paused``."""
    used = uses(HubWebSocketProtocol, "self")
    (told,) = places(uvicorn_protocol, used, {"read_paused"})
    lines = inspect.getsource(uvicorn_protocol).splitlines()
    assert told.startswith("read_paused: relied on by hub.transports.uvicorn_protocol, lines ")
    assert all("read_paused" in lines[number - 1] for number in used["read_paused"])
    assert "read_paused" not in ours(HubWebSocketProtocol)
    assert "read_paused" in members(WebSocketsSansIOProtocol)


@pytest.mark.parametrize("package", ["uvicorn", "websockets"])
def test_versions_are_kept_below_the_next_minor_one(package: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (wanted,) = [line for line in project["dependencies"] if line.startswith(package)]
    major, minor = version(package).split(".")[:2]
    assert wanted.endswith(f",<{major}.{int(minor) + 1}"), wanted


def test_nothing_else_derives_from_theirs() -> None:
    """A class that is added to the transports is added to this test."""
    modules = (file_sending, http_protocol, http_request, server, uvicorn_protocol, single_write)
    found = {
        kind
        for module in modules
        for kind in vars(module).values()
        if inspect.isclass(kind)
        and kind.__module__.startswith("hub.")
        and any(base.__module__.partition(".")[0] in {"uvicorn", "websockets"} for base in kind.__mro__)
    }
    assert found == {derived for derived, _ in DERIVED}
