"""What holds for every route of a running hub: HEAD, the headers of security, and in a demo, Host and Origin."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator, Sequence
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
AUTH_PAGES = ["/auth/v3/oauth/authorize", "/auth/v3/sign-in", "/auth/v3/sign-out", "/auth/v3/static/sign-in.css", "/auth/v3/consent"]
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


def all_paths(client: httpx.Client) -> list[str]:
    """Every path of ``/openapi.json``, whatever its methods."""
    return [re.sub(r"\{[^}]+\}", "x", path) for path in client.get("/openapi.json").json()["paths"]]


def is_guarded(headers: httpx.Headers | Sequence[tuple[str, str]]) -> bool:
    """Whether an answer has each header of security once: no policy of a page beside the one of all answers."""
    found = httpx.Headers(headers)
    return (
        found.get_list("x-content-type-options") == ["nosniff"]
        and len(found.get_list("content-security-policy")) == 1
        and "default-src 'none'" in found["content-security-policy"].replace("'self'", "'none'")
        and len(found.get_list("referrer-policy")) == 1
        and len(found.get_list("permissions-policy")) == 1
        and "strict-transport-security" not in found  # this hub does not speak TLS
    )


def test_every_answer_of_every_route_is_guarded(client: httpx.Client) -> None:
    """Success and refusal, with and without the method that a route has, from a page of another site and from none."""
    for path in [*all_paths(client), *PLAIN, *AUTH_PAGES]:
        for method in ("GET", "HEAD", "POST", "OPTIONS", "DELETE"):
            answer = client.request(method, path, headers={"Content-Type": "application/json"})
            assert is_guarded(answer.headers), (method, path, answer.headers)
        page = client.get(path, headers={"Origin": "https://evil.example"})
        assert is_guarded(page.headers), (path, page.headers)


def test_streams_and_refusals_of_the_server_itself_are_guarded(client: httpx.Client, demo_hub: HubProcess) -> None:
    with client.stream("GET", "/events?channel=/a") as stream:
        assert is_guarded(stream.headers)
    polling = client.post("/cometd", json=[{"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["long-polling"]}])
    assert is_guarded(polling.headers)
    unreadable = [
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
    ]
    for request in unreadable:
        head = sent_raw(demo_hub, request).partition(b"\r\n\r\n")[0].decode("latin-1")
        lines = [line.partition(": ") for line in head.split("\r\n")[1:]]
        assert is_guarded([(name, value) for name, _, value in lines]), head


def test_no_policy_of_a_page_allows_what_stands_in_it_or_comes_from_anywhere(client: httpx.Client) -> None:
    assert client.get("/api/v1/me").headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    for path in ("/", "/auth/v3/sign-in", "/auth/v3/oauth/authorize"):
        policy = client.get(path).headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "*" not in policy
        assert "frame-ancestors" in policy


def raw(hub: HubProcess, target: str, *headers: str) -> bytes:
    return sent_raw(hub, "\r\n".join([f"GET {target} HTTP/1.1", *headers, "Connection: close", "", ""]).encode())


def sent_raw(hub: HubProcess, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", hub.port)) as connection:
        connection.settimeout(20)
        connection.sendall(request)
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
    assert is_guarded(list(refused.value.response.headers.raw_items()))
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
