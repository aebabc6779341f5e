"""A hub in a process of its own follows what the commands change in its database."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.conftest import HubFactory
from tests.support.hub_process import HubProcess, clean_environment, run_hub


def administer(hub: HubProcess, *arguments: str) -> Any:
    done = run_hub([*arguments, "--json", "--data-dir", str(hub.data_dir)], hub.folder, clean_environment())
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_credentials_come_and_go_while_the_hub_runs(hub_process: HubFactory) -> None:
    hub = hub_process("--open")
    made = administer(hub, "token", "add", "wall", "--tenant", "demo", "--role", "dashboard")
    headers = {"Authorization": f"Bearer {made['token']}"}
    async with asyncio.timeout(30), httpx.AsyncClient(base_url=hub.url, headers=headers) as client:
        while (await client.get("/api/v1/me")).status_code != 200:  # a running hub follows within 2 s
            await asyncio.sleep(0.1)
        ticket = (await client.post("/api/v1/tickets")).json()["data"]["ticket"]
        async with (
            connect(f"{hub.ws_url}/ws", additional_headers=headers) as by_header,
            connect(f"{hub.ws_url}/ws?ticket={ticket}") as by_ticket,
        ):
            for socket in (by_header, by_ticket):
                assert json.loads(await socket.recv())[0]["type"] == "welcome"
            administer(hub, "token", "remove", made["id"])
            for socket in (by_header, by_ticket):
                with pytest.raises(ConnectionClosed) as closed:
                    await socket.recv()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 4401
        assert (await client.get("/api/v1/me")).status_code == 401
