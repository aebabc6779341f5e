"""What holds for every route of a running hub: HEAD, X-Content-Type-Options, and in a demo, Host and Origin."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.conftest import QUIET_CENTRE
from tests.support.hub_process import HubProcess

HANDSHAKE = {
    "channel": "/meta/handshake",
    "version": "1.0",
    "supportedConnectionTypes": ["callback-polling"],
    "ext": {"authentication": {"token": "demo-token"}},
}
JSONP = f"/cometd?jsonp=call&message={quote(json.dumps([HANDSHAKE]))}"
PLAIN = ["/", "/openapi.json", "/metrics", "/wallboard/index.html", "/nothing", "/ws", "/cometd", "/cometd?jsonp=call", JSONP]
STREAMS = {"/events?channel=/a": 200, "/events": 400}


@pytest.fixture
def client(demo_hub: HubProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=demo_hub.url, headers=demo_hub.headers, timeout=20) as client:
        yield client


def gets(client: httpx.Client) -> list[str]:
    """Every path that ``/openapi.json`` says is read by GET, with something for its parameters."""
    paths = client.get("/openapi.json").json()["paths"]
    return [re.sub(r"\{[^}]+\}", "x", path) for path, operations in paths.items() if "get" in operations]


def test_head_is_served_wherever_get_is(client: httpx.Client) -> None:
    read = gets(client)
    assert len(read) > 20
    for path in [*read, *PLAIN]:
        got, head = client.get(path), client.head(path)
        assert head.status_code == got.status_code, path
        assert head.headers.get("content-type") == got.headers.get("content-type"), path
        assert head.content == b"", path
    for path, status in STREAMS.items():
        assert client.head(path).status_code == status


def test_a_head_takes_no_messages_from_a_session(client: httpx.Client) -> None:
    """What callback-polling answers a GET is taken from the session: a HEAD could not carry it."""
    sessions = client.get("/api/v1/sessions?limit=1000").json()["data"]
    assert client.head(JSONP).status_code == 200
    assert client.get("/api/v1/sessions?limit=1000").json()["data"] == sessions


def test_a_head_does_not_mark_a_mail_as_read(client: httpx.Client) -> None:
    mail = {"from": "ana@example.com", "subject": "Invoice", "text": "Where is it?"}
    made = client.post("/nexus/v3/securemail", json={"data": mail})
    assert made.status_code == 200, made.text
    url = f"/nexus/v3/securemail/{made.json()['secureMailId']}"
    assert client.head(f"{url}?read=true").status_code == 200
    assert client.get(url).json()["secureMail"]["status"] == "unread"
    assert client.get(f"{url}?read=true").json()["secureMail"]["status"] == "read"


def test_no_answer_is_to_be_guessed_at(client: httpx.Client) -> None:
    for path in [*gets(client), *PLAIN]:
        for method in ("GET", "HEAD", "POST", "OPTIONS", "DELETE"):
            answer = client.request(method, path, headers={"Content-Type": "application/json"})
            assert answer.headers.get_list("x-content-type-options") == ["nosniff"], (method, path)


def raw(hub: HubProcess, target: str, *headers: str) -> bytes:
    with socket.create_connection(("127.0.0.1", hub.port)) as connection:
        connection.settimeout(20)
        connection.sendall("\r\n".join([f"GET {target} HTTP/1.1", *headers, "Connection: close", "", ""]).encode())
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return answer


@pytest.mark.parametrize("path", ["/", "/ws", "/cometd", "/events?channel=/a", "/api/v1/me", JSONP], ids=str)
def test_a_demo_is_not_reached_by_a_name_of_somebody_elses(demo_hub: HubProcess, path: str) -> None:
    """DNS rebinding: the page of such a name would be the hub's own, and get the administrator's cookie."""
    answer = raw(demo_hub, path, "Host: rebound.example:8080", "Authorization: Bearer demo-token")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"allowed_hosts" in answer
    assert b"set-cookie" not in answer.lower()


@pytest.mark.parametrize("door", ["/ws", "/cometd", "/statistics/v3/notifications"])
def test_a_demo_takes_no_websocket_of_any_page(demo_hub: HubProcess, door: str) -> None:
    url = demo_hub.ws_url + door
    with pytest.raises(InvalidStatus) as refused:
        connect(url, additional_headers={"Origin": "https://evil.example"}, proxy=None)
    assert refused.value.response.status_code == 403
    assert b"allowed_origins" in (refused.value.response.body or b"")
    assert refused.value.response.headers["X-Content-Type-Options"] == "nosniff"
    with connect(url, additional_headers={"Origin": demo_hub.url}, proxy=None), connect(url, proxy=None):
        pass


def test_a_demo_answers_no_script_element_of_any_page(demo_hub: HubProcess) -> None:
    cross = ("Host: localhost", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Referer: https://evil.example/")
    assert raw(demo_hub, JSONP, *cross).startswith(b"HTTP/1.1 403 ")
    assert b'"successful":true' in raw(demo_hub, JSONP, "Host: localhost")


def test_names_and_origins_that_the_settings_allow(tmp_path: Path) -> None:
    environment = {**QUIET_CENTRE, "HUB_ALLOWED_HOSTS": "hub.example", "HUB_ALLOWED_ORIGINS": "https://desk.example"}
    hub = HubProcess(tmp_path, environment=environment)
    try:
        hub.start()
        assert raw(hub, "/livez", "Host: hub.example:1").startswith(b"HTTP/1.1 200 ")
        assert raw(hub, "/livez", "Host: hub.example", "Origin: https://desk.example").startswith(b"HTTP/1.1 200 ")
        assert raw(hub, "/livez", "Host: hub.example", "Origin: https://other.example").startswith(b"HTTP/1.1 403 ")
        assert hub.log().count('"origin_refused"') == 1
        mail = {"direction": "outbound", "data": {}}
        made = httpx.post(f"{hub.url}/nexus/v3/securemail", json=mail, headers={**hub.headers, "Host": "evil.example"}, timeout=20)
        assert made.status_code == 400
        assert "allowed_hosts" in made.text
    finally:
        hub.close()
