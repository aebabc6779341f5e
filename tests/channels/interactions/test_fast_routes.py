"""The short way answers as the long one does."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from hub.http.fast_router import FastRouter
from tests.channels.interactions.support import WORK, Reception

REQUESTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "created": ("POST", WORK, {"json": {"data": {"userData": {"a": 1}}}}),
    "created without a body": ("POST", WORK, {}),
    "not JSON": ("POST", WORK, {"content": b"{"}),
    "a field of the wrong type": ("POST", WORK, {"json": {"data": {"externalId": 7}}}),
    "got": ("GET", f"{WORK}/ID", {}),
    "stopped": ("POST", f"{WORK}/ID/stop", {"json": {"data": {"reasonSystemName": "Resolved"}}}),
    "an id that is unknown": ("POST", f"{WORK}/nobody/stop", {}),
    "an id with a slash": ("GET", f"{WORK}/a%2Fb", {}),
    "an external id": ("GET", f"{WORK}/ext_7", {}),
    "a service whose name is too long": ("POST", f"/nexus/v3/openmedia/{'x' * 65}/interactions", {}),
    "another method": ("DELETE", WORK, {}),
    "nobody": ("POST", WORK, {"caller": ""}),
    "somebody unknown": ("POST", WORK, {"caller": "stranger"}),
    "who may only read": ("POST", f"{WORK}/ID/stop", {"caller": "viewer"}),
    "an unknown key": ("POST", WORK, {"caller": "", "headers": {"x-api-key": "wrong"}}),
    "a request id": ("GET", f"{WORK}/ID", {"headers": {"x-request-id": "mine"}}),
}


def comparable(response: httpx.Response, identifiers: set[str]) -> tuple[int, str, dict[str, str]]:
    """What must be the same: not ids, which are new each time."""
    text = response.text
    for identifier in identifiers:
        text = text.replace(identifier, "ID")
    headers = {name: value for name, value in response.headers.items() if name not in {"x-request-id", "content-length"}}
    return response.status_code, text, headers


@pytest.mark.parametrize("what", list(REQUESTS))
async def test_both_ways_answer_alike(light: Reception, what: str) -> None:
    method, url, more = REQUESTS[what]
    short = light.app
    assert isinstance(short, FastRouter)
    answers = []
    for app in (short, light.long_way):
        light.app = short
        made = (await light.data("POST", WORK, {}))["id"]
        light.app = app
        response = await light.call(method, url.replace("ID", made), **more)
        new = response.json().get("data", {}).get("id", made) if response.headers["content-type"] == "application/json" else made
        answers.append(comparable(response, {made, new}))
    assert answers[0] == answers[1]


async def test_a_page_of_another_origin_goes_the_long_way(light: Reception, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    async def long_way(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["path"])
        await light.long_way(scope, receive, send)

    assert isinstance(light.app, FastRouter)
    monkeypatch.setattr(light.app, "_app", long_way)
    assert (await light.call("POST", WORK, json={"data": {}})).status_code == 200
    assert seen == []
    assert (await light.call("POST", WORK, json={"data": {}}, headers={"origin": "http://elsewhere"})).status_code == 200
    assert seen == [WORK]


async def test_what_nobody_expected_is_a_500_in_the_envelope(light: Reception, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("desk")

    monkeypatch.setattr(type(light.interactions), "open", broken)
    response = await light.call("POST", WORK, json={"data": {}})
    assert (response.status_code, response.json()["status"]["code"]) == (500, 500)
    assert response.headers["x-request-id"]
