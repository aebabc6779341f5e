"""The commands that speak to a hub, behind proxies: one that drops ``Upgrade``, and those that the environment names."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.conftest import QUIET_CENTRE
from tests.support.forward_proxy import ForwardProxy
from tests.support.hub_process import HUB_COMMAND, HubProcess, clean_environment, hub_command, run_hub
from tests.support.proxies import PlainProxy, ReverseProxy, why_not

WITHIN_S = 60.0
EVENT = {
    "specversion": "1.0",
    "id": "1",
    "source": "/test",
    "type": "cx.agent.login",
    "time": "2026-03-02T09:00:00Z",
    "data": {"agentId": "a1", "placeId": "p1"},
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    hub = HubProcess(tmp_path_factory.mktemp("hub"), ("--demo",), QUIET_CENTRE | {"HUB_REPLAY__CHANNELS": "/log/**"})
    try:
        yield hub.start()
    finally:
        hub.close()


def run(url: str, *arguments: str, environment: Mapping[str, str] = {}, cold: bool = False) -> tuple[int, str, str]:
    """A command as a user has it; the proxy's variables are only those that are given. ``cold``: certificates are read when it starts."""
    kept = {name: value for name, value in clean_environment().items() if not name.lower().endswith("_proxy")}
    told = {"HUB_URL": url, "HUB_TOKEN": "demo-token", "COLUMNS": "300"}
    whole = {**kept, **told, **environment}
    if cold:
        command = [str(HUB_COMMAND), *arguments]
        done = subprocess.run(command, env=whole, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    else:
        done = run_hub(arguments, Path.cwd(), whole)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def without_upgrade(hub: HubProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The hub behind an nginx that drops Upgrade: the hub answers 405 to the GET that is left."""
    if why := why_not("nginx"):
        pytest.skip(why)
    with PlainProxy(tmp_path_factory.mktemp("nginx"), hub.port) as proxy:
        yield proxy.url


def test_listen_and_publish_fall_back_to_long_polling(without_upgrade: str) -> None:
    assert run(without_upgrade, "publish", "/log/fall-back", '{"a":1}') == (0, "", "")
    code, out, errors = run(without_upgrade, "listen", "/log/fall-back", "--since", "all", "--count", "1")
    assert code == 0, errors
    assert json.loads(out)["data"]["a"] == 1
    assert "connected: by long-polling" in errors


def test_a_websocket_that_was_asked_for_says_what_is_in_the_way(without_upgrade: str) -> None:
    with subprocess.Popen(
        [str(hub_command()), "listen", "/my/a", "--transport", "websocket", "--url", without_upgrade, "--token", "demo-token"],
        env=clean_environment({"COLUMNS": "300"}),
        stderr=subprocess.PIPE,
        text=True,
    ) as listener:
        assert listener.stderr is not None
        said = next(line for line in listener.stderr if "405" in line)
        listener.terminate()
        assert listener.wait(WITHIN_S) == 0
    assert (
        "opened no WebSocket: something on the way may not let WebSockets through, then long-polling is the transport that passes" in said
    )


@pytest.mark.parametrize("path", ["", "/", "/cometd", "/cometd/"])
def test_one_address_means_the_same_for_every_command(hub: HubProcess, tmp_path: Path, path: str) -> None:
    (tmp_path / "day.ndjson").write_text(json.dumps(EVENT | {"id": f"address{path}"}))
    url = hub.url + path
    assert run(url, "publish", "/log/address", "1")[0] == 0
    assert run(url, "listen", "/log/address", "--since", "all", "--count", "1")[0] == 0
    code, _, errors = run(url, "feed", str(tmp_path / "day.ndjson"))
    assert (code, "1 accepted" in errors) == (0, True), errors


@pytest.fixture(scope="module")
def below_a_path(hub: HubProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The hub below a path of a proxy."""
    if why := why_not("nginx"):
        pytest.skip(why)
    with PlainProxy(tmp_path_factory.mktemp("nginx"), hub.port, path="/hubs/one/") as proxy:
        yield f"{proxy.url}/hubs/one"


COMMANDS = {
    "publish": ("publish", "/log/commands", "1"),
    "listen": ("listen", "/log/commands", "--since", "all", "--count", "1"),
    "feed": ("feed", "FILE", "--give-up", "5"),
    "simulate": ("simulate", "--hours", "0.01", "--speed", "100", "--give-up", "5"),
}


def of(command: str, folder: Path) -> list[str]:
    (folder / "day.ndjson").write_text(json.dumps(EVENT | {"id": str(folder)}))
    return [str(folder / "day.ndjson") if word == "FILE" else word for word in COMMANDS[command]]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_hub_below_a_path(below_a_path: str, command: str, tmp_path: Path) -> None:
    code, _, errors = run(below_a_path, *of(command, tmp_path))
    assert code == 0, errors


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("url", ["localhost:8080", "http://localhost:8080/?x=1"])
def test_what_is_no_address_is_said_alike(command: str, url: str, tmp_path: Path) -> None:
    code, _, errors = run(url, *of(command, tmp_path))
    assert code == 2
    assert "Invalid value for --url: expected" in errors
    assert url in errors


@pytest.mark.parametrize(
    ("command", "variable"), [*((command, "HTTP_PROXY") for command in COMMANDS), ("feed", "http_proxy"), ("publish", "ALL_PROXY")]
)
def test_the_proxy_of_the_environment_is_used(hub: HubProcess, command: str, variable: str, tmp_path: Path) -> None:
    with ForwardProxy() as proxy:
        code, _, errors = run(hub.url, *of(command, tmp_path), environment={variable: proxy.url})
        assert code == 0, errors
        assert any(line.startswith(f"POST {hub.url}/") for line in proxy.requests), proxy.requests


@pytest.mark.parametrize("command", COMMANDS)
def test_hosts_that_are_excepted_are_reached_directly(hub: HubProcess, command: str, tmp_path: Path) -> None:
    with ForwardProxy() as proxy:
        environment = {"HTTP_PROXY": proxy.url, "NO_PROXY": "example.com, localhost"}
        code, _, errors = run(hub.url, *of(command, tmp_path), environment=environment)
        assert (code, proxy.requests) == (0, []), errors


@pytest.mark.parametrize("command", COMMANDS)
def test_a_proxy_that_wants_credentials(hub: HubProcess, command: str, tmp_path: Path) -> None:
    with ForwardProxy("ann:s3cret") as proxy:
        named = f"http://ann:s3cret@127.0.0.1:{proxy.port}"
        code, _, errors = run(hub.url, *of(command, tmp_path), environment={"HTTP_PROXY": named})
        assert code == 0, errors
        code, _, errors = run(hub.url, *of(command, tmp_path), environment={"HTTP_PROXY": proxy.url})
    assert code == 2
    assert "the HTTP proxy asks for credentials" in " ".join(errors.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_a_proxy_of_another_kind_is_refused_by_the_name_of_its_variable(hub: HubProcess, command: str, tmp_path: Path) -> None:
    code, _, errors = run(hub.url, *of(command, tmp_path), environment={"ALL_PROXY": "socks5://ann:s3cret@127.0.0.1:1080"})
    assert code == 2
    assert "ALL_PROXY: expected http://HOST[:PORT]" in " ".join(errors.split())
    assert "s3cret" not in errors


@pytest.fixture(scope="module")
def encrypted(hub: HubProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReverseProxy]:
    """The hub behind TLS."""
    if why := why_not("nginx"):
        pytest.skip(why)
    proxy = ReverseProxy("nginx", tmp_path_factory.mktemp("nginx"), hub.port)
    try:
        yield proxy
    finally:
        proxy.close()


@pytest.mark.parametrize("command", COMMANDS)
def test_tls_goes_through_a_tunnel(encrypted: ReverseProxy, command: str, tmp_path: Path) -> None:
    with ForwardProxy("ann:s3cret") as proxy:
        environment = {"HTTPS_PROXY": f"http://ann:s3cret@127.0.0.1:{proxy.port}", **encrypted.environment}
        code, _, errors = run(encrypted.url, *of(command, tmp_path), environment=environment, cold=True)
        assert code == 0, errors
        assert {line.split()[0] for line in proxy.requests} == {"CONNECT"}
        if command == "listen":
            assert "connected: by websocket" in errors
        code, _, errors = run(encrypted.url, *of(command, tmp_path), environment=environment | {"HTTPS_PROXY": proxy.url}, cold=True)
    assert code == 2
    assert "the HTTP proxy asks for credentials" in " ".join(errors.split())
