"""The WebSocket of participants, on a whole node and on two."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as ws_connect
from websockets.exceptions import ConnectionClosed

from channels.families import FAMILIES
from channels.files.participants.counters import ChatCounters
from channels.files.participants.models import Participant, Role
from channels.files.participants.socket import ChatSession, principal_of
from channels.files.participants.tokens import SOCKET_S, Purpose, Tokens
from hub.cluster.settings import ClusterSettings
from hub.core.errors import CloseCode
from hub.core.session_ids import new_stream_id
from hub.families import migrations_of
from hub.node import Node
from hub.ops.settings import model_of
from tests.channels.files.participants.support import EVENT
from tests.hub.storage.backends import Postgres, postgres
from tests.hub.transports.harness import listening
from tests.support.redis_server import RedisServer
from tests.support.rest import Clock

__all__ = ["postgres"]

BOUND_S = 30.0
SECRET = "the secret of all nodes, long enough"


class Person:
    """A participant, at one node."""

    def __init__(self, house: House, entry: dict[str, Any], url: str) -> None:
        self._house = house
        self.id: str = entry["participantId"]
        self.contact: str = entry["interactionId"]
        self.token: str = entry["participantToken"]
        self.url = url
        self.connection = ""
        self.socket_url = ""

    async def connect(self) -> None:
        kinds = ["WEBSOCKET", "CONNECTION_CREDENTIALS"]
        found = (await self._house.participant(self.url, "connection", self.token, Type=kinds)).json()
        self.connection = found["ConnectionCredentials"]["ConnectionToken"]
        self.socket_url = found["Websocket"]["Url"]

    async def ask(self, call: str, **body: Any) -> httpx.Response:
        return await self._house.participant(self.url, call, self.connection, **body)

    async def say(self, text: str) -> str:
        answer = await self.ask("message", ContentType="text/plain", Content=text)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["Id"])

    async def open(self) -> ClientConnection:
        """A WebSocket that has subscribed."""
        await self.connect()
        socket = await self._house.open(self.socket_url)
        await socket.send('{"topic":"aws/subscribe","content":{"topics":["aws/chat"]}}')
        while (answer := await told(socket)).get("topic") != "aws/subscribe":
            assert answer["ContentType"] == f"{EVENT}participant.joined"  # what waits when it subscribes is told before the answer
        assert answer == {"topic": "aws/subscribe", "content": {"status": "success", "topics": ["aws/chat"]}}
        return socket


class House:
    """One node or several, with the tenants ``acme`` and ``other``."""

    def __init__(self, nodes: list[Node], urls: list[str], client: httpx.AsyncClient, stack: AsyncExitStack) -> None:
        self.nodes = nodes
        self.urls = urls
        self.client = client
        self.stack = stack
        self.tokens: dict[str, str] = {}

    async def participant(self, url: str, call: str, token: str, **body: Any) -> httpx.Response:
        return await self.client.post(f"{url}/participant/{call}", headers={"X-Amz-Bearer": token}, json=body)

    async def rest(self, method: str, path: str, *, tenant: str = "acme", node: int = 0, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.tokens[tenant]}"}
        return await self.client.request(method, f"{self.urls[node]}{path}", headers=headers, **more)

    async def let_in(self, *, tenant: str = "acme", node: int = 0, role: str = "CUSTOMER", name: str = "Ana", **more: Any) -> Person:
        body = {"role": role, "displayName": name, **more}
        answer = await self.rest("POST", "/api/v1/participants", tenant=tenant, node=node, json=body)
        assert answer.status_code == 200, answer.text
        return Person(self, answer.json()["data"], self.urls[node])

    async def open(self, url: str) -> ClientConnection:
        return await self.stack.enter_async_context(ws_connect(url))

    def counters(self, node: int = 0) -> ChatCounters:
        found = next(part.counters["chats"] for part in self.nodes[node].parts if "chats" in part.counters)
        assert isinstance(found, ChatCounters)
        return found


@asynccontextmanager
async def house_of(*settings: dict[str, Any]) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        nodes = [Node(model_of(FAMILIES)(secret=SECRET, **each), FAMILIES) for each in settings]
        ports = [await stack.enter_async_context(listening(node.app, lifespan=True)) for node in nodes]
        async with asyncio.timeout(BOUND_S):
            while not all(node.cluster is None or len(node.cluster.registry.live()) == len(nodes) for node in nodes):
                await asyncio.sleep(0.02)
        client = await stack.enter_async_context(httpx.AsyncClient(timeout=BOUND_S))
        made = House(nodes, [f"http://127.0.0.1:{port}" for port in ports], client, stack)
        for tenant in ("acme", "other"):
            await nodes[0].security.store.add_tenant(tenant)
            made.tokens[tenant] = (await nodes[0].security.store.add_token(tenant, "ana", ["admin"]))[1]
        async with AsyncExitStack() as connections:
            made.stack = connections
            yield made


@pytest.fixture
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    """One node. Settings of files may come as the parameter."""
    async with house_of({"data_dir": tmp_path, "files": getattr(request, "param", {})}) as made:
        yield made


@pytest.fixture
async def pair(tmp_path: Path, postgres: Postgres, shared_redis: Callable[[str], RedisServer]) -> AsyncIterator[House]:
    """Two nodes over one PostgreSQL, one Redis and one folder of files."""
    database = postgres.url(await postgres.migrated(migrations_of(FAMILIES))).replace("+psycopg", "")
    with TemporaryDirectory(prefix="hub-") as sockets:  # not pytest's folder: the name of a socket is short
        shared = {
            "database_url": database,
            "redis_url": shared_redis("redis").url,
            "redis_prefix": secrets.token_hex(8),
            "cluster": ClusterSettings(beat_s=0.1, lapse_s=1.0),
            "objects": {"url": f"file://{tmp_path}/objects"},
            "messaging": {"media_dir": tmp_path / "media"},
        }
        async with house_of(*({"data_dir": tmp_path / name, "link_listen": f"unix:{sockets}/{name}", **shared} for name in "ab")) as made:
            yield made


async def told(socket: ClientConnection) -> Any:
    """The next frame; of an item, the item."""
    async with asyncio.timeout(BOUND_S):
        frame = json.loads(await socket.recv())
    if frame["topic"] != "aws/chat":
        return frame
    assert frame["contentType"] == "application/json"
    return json.loads(frame["content"])


async def answered(socket: ClientConnection) -> Any:
    """The next answer of the WebSocket; items of the chat, which may be told before it, are dropped."""
    while "topic" not in (frame := await told(socket)):
        continue
    return frame


async def hears(socket: ClientConnection, what: str) -> Any:
    """Wait for an item by its content, or by the end of its content type; what comes before is dropped."""
    while True:
        item = await told(socket)
        if item.get("Content") == what or item.get("ContentType", "").endswith(what):
            return item


async def closed(socket: ClientConnection) -> int:
    """With what it is closed; what comes before is dropped."""
    async with asyncio.timeout(BOUND_S):
        with suppress(ConnectionClosed):
            while True:
                await socket.recv()
        await socket.wait_closed()
    assert socket.close_code is not None
    return socket.close_code


# -- one node ---------------------------------------------------------------------------------------------------------------


async def test_what_is_said_is_told(house: House) -> None:
    ana = await house.let_in()
    desk = await house.let_in(role="AGENT", name="Ben", interactionId=ana.contact)
    at_home, at_work = await ana.open(), await desk.open()
    said = await ana.say("hällo 日 😀")
    for socket in (at_home, at_work):
        item = await hears(socket, "hällo 日 😀")
        assert (item["Id"], item["Type"], item["ParticipantId"], item["ContactId"]) == (said, "MESSAGE", ana.id, ana.contact)
    await desk.ask("event", ContentType=f"{EVENT}typing")
    assert (await hears(at_home, "event.typing"))["ParticipantRole"] == "AGENT"
    await desk.ask("event", ContentType=f"{EVENT}message.read", Content=json.dumps({"messageId": said}))
    receipt = await hears(at_home, "message.metadata")
    assert (receipt["Type"], receipt["MessageMetadata"]["MessageId"]) == ("MESSAGEMETADATA", said)
    read = await ana.ask("transcript", SortOrder="ASCENDING", StartPosition={"Id": said})
    assert read.json()["Transcript"][0] == {**item, "Content": "hällo 日 😀"}


async def test_pings_and_heartbeats(house: House) -> None:
    ana = await house.let_in()
    socket = await ana.open()
    await socket.send('{"topic":"aws/ping"}')
    assert await answered(socket) == {"topic": "aws/ping", "statusCode": 200, "statusContent": "OK"}
    await socket.send('{"topic":"aws/heartbeat"}')
    assert await answered(socket) == {"topic": "aws/heartbeat"}
    await socket.send('{"topic":"aws/something"}')
    await socket.send('{"topic":"aws/subscribe","content":{"topics":["aws/task"]}}')
    assert await answered(socket) == {"topic": "aws/subscribe", "content": {"status": "failure", "topics": ["aws/task"]}}


async def test_nothing_is_told_before_it_is_asked_for(house: House) -> None:
    ana = await house.let_in()
    await ana.connect()
    socket = await house.open(ana.socket_url)
    await socket.send('{"topic":"aws/ping"}')
    assert (await answered(socket))["topic"] == "aws/ping"  # it hears its chat from here on
    desk = await house.let_in(role="AGENT", interactionId=ana.contact)
    at_work = await desk.open()
    await ana.say("early")
    await hears(at_work, "early")  # the first socket had its turn before this one
    await socket.send('{"topic":"aws/subscribe","content":{"topics":["aws/chat"]}}')
    assert (await answered(socket))["topic"] == "aws/subscribe"
    await ana.say("in time")
    assert (await hears(socket, "in time"))["Type"] == "MESSAGE"


async def test_all_hear_the_end(house: House) -> None:
    ana = await house.let_in()
    desk = await house.let_in(role="AGENT", interactionId=ana.contact)
    at_home, at_work = await ana.open(), await desk.open()
    await ana.ask("disconnect")
    for socket in (at_home, at_work):
        assert (await hears(socket, "chat.ended"))["ParticipantRole"] == "SYSTEM"
        assert await closed(socket) == CloseCode.NORMAL
    late = await house.open(ana.socket_url)
    assert await closed(late) == CloseCode.NOT_AUTHENTICATED


async def test_who_has_left_hears_no_more(house: House) -> None:
    ana = await house.let_in()
    desk = await house.let_in(role="AGENT", interactionId=ana.contact)
    at_home, at_work = await ana.open(), await desk.open()
    await house.rest("DELETE", f"/api/v1/participants/{desk.id}")
    await hears(at_home, "participant.left")
    await ana.say("gone?")
    await hears(at_home, "gone?")
    async with asyncio.timeout(BOUND_S):
        heard = [frame async for frame in at_work]
    assert [frame for frame in heard if "gone?" in str(frame)] == []
    assert at_work.close_code == CloseCode.NORMAL


async def test_others_hear_nothing(house: House) -> None:
    ana = await house.let_in(interactionId="4711")
    other, foreign = await house.let_in(), await house.let_in(interactionId="4711", tenant="other")
    sockets = [await each.open() for each in (other, foreign)]
    await ana.connect()
    await ana.say("secret")
    for person, socket in zip((other, foreign), sockets, strict=True):
        await person.say("mine")
        while (item := await told(socket)).get("Content") != "mine":
            assert item.get("ParticipantId") == person.id


async def test_urls_that_are_none(house: House) -> None:
    ana = await house.let_in()
    await ana.connect()
    base = ana.socket_url.partition("?")[0]
    past = Clock()
    past.now_ms -= SOCKET_S * 1000
    named: dict[str, Any] = {"tenant": "acme", "contact": ana.contact, "participant": ana.id, "role": "CUSTOMER"}
    expired, _ = Tokens(SECRET.encode(), past).make(Purpose.SOCKET, **named)
    forged, _ = Tokens(b"another", Clock()).make(Purpose.SOCKET, **named)
    for url in (base, f"{base}?token=", f"{base}?token=x&token=y", *(f"{base}?token={each}" for each in (expired, forged, ana.connection))):
        assert await closed(await house.open(url)) == CloseCode.NOT_AUTHENTICATED, url
    plain = await house.client.get(base.replace("ws", "http", 1))
    assert (plain.status_code, plain.headers["x-amzn-errortype"]) == (426, "ValidationException")


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("nonsense", CloseCode.BAD_MESSAGE),
        ("[]", CloseCode.BAD_MESSAGE),
        ("{}", CloseCode.BAD_MESSAGE),
        ('{"topic":5}', CloseCode.BAD_MESSAGE),
        ('{"topic":"aws/subscribe"}', CloseCode.BAD_MESSAGE),
        ('{"topic":"aws/subscribe","content":{"topics":"aws/chat"}}', CloseCode.BAD_MESSAGE),
        ('{"topic":' + "[" * 50 + "]" * 50 + "}", CloseCode.BAD_MESSAGE),
        (b"\x00", CloseCode.BAD_MESSAGE),
        ('{"topic":"' + "x" * 5_000 + '"}', CloseCode.TOO_LARGE),
    ],
)
async def test_frames_that_are_none(house: House, frame: str | bytes, code: CloseCode) -> None:
    ana = await house.let_in()
    socket = await ana.open()
    await socket.send(frame)
    assert await closed(socket) == code
    assert house.counters().refused_frames == 1


@pytest.mark.parametrize("house", [{"chat_sockets": 2}], indirect=True)
async def test_more_sockets_than_a_participant_may_have(house: House) -> None:
    ana = await house.let_in()
    sockets = [await ana.open() for _ in range(2)]
    assert await closed(await house.open(ana.socket_url)) == CloseCode.TOO_MANY
    await sockets[0].close()
    async with asyncio.timeout(BOUND_S):
        while True:  # the hub may learn of it a little later
            again = await house.open(ana.socket_url)
            await again.send('{"topic":"aws/ping"}')
            try:
                await again.recv()
            except ConnectionClosed:
                continue
            break
    assert house.counters().refused_sockets >= 1


@pytest.mark.parametrize("house", [{"chat_frames_per_s": 3}], indirect=True)
async def test_more_frames_than_a_socket_may_send(house: House) -> None:
    ana = await house.let_in()
    socket = await ana.open()
    for _ in range(10):
        await socket.send('{"topic":"aws/ping"}')
    assert await closed(socket) == CloseCode.TOO_MANY


async def test_a_removed_tenant_hears_no_more_and_never_the_next_of_its_name(house: House) -> None:
    ana, foreign = await house.let_in(interactionId="same"), await house.let_in(tenant="other")
    socket, elsewhere = await ana.open(), await foreign.open()
    store = house.nodes[0].security.store
    await store.remove_tenant("acme", force=True)
    assert await closed(socket) == CloseCode.NOT_AUTHENTICATED
    await store.add_tenant("acme")
    house.tokens["acme"] = (await store.add_token("acme", "ana", ["admin"]))[1]
    again = await house.let_in(interactionId="same")
    assert (await ana.ask("transcript")).status_code == 403
    assert await closed(await house.open(ana.socket_url)) == CloseCode.NOT_AUTHENTICATED
    await again.connect()
    await foreign.say("still here")
    await hears(elsewhere, "still here")


async def test_a_chat_that_is_made_again_at_once_is_not_heard_by_an_old_socket(house: House) -> None:
    """Nothing that the hub does by and by is waited for: the next tenant of the name talks at once, in a chat of the same ids."""
    ana = await house.let_in(interactionId="same", clientToken="t1")
    socket = await ana.open()
    await ana.say("of the first tenant")
    await hears(socket, "of the first tenant")
    store = house.nodes[0].security.store
    await store.remove_tenant("acme", force=True)
    await store.add_tenant("acme")
    house.tokens["acme"] = (await store.add_token("acme", "ana", ["admin"]))[1]
    again = await house.let_in(interactionId="same", clientToken="t1")
    assert again.id != ana.id, "who was let in by the same token before was another"
    await again.connect()
    await again.say("of the next tenant")
    heard: list[str] = []
    async with asyncio.timeout(BOUND_S):
        with suppress(ConnectionClosed):
            while True:
                heard.append(str(await socket.recv()))
    assert (socket.close_code, heard) == (CloseCode.NOT_AUTHENTICATED, [])
    assert (await ana.ask("transcript")).status_code == 403
    assert (await house.participant(ana.url, "connection", ana.token, Type=["CONNECTION_CREDENTIALS"])).status_code == 403
    assert (await again.ask("transcript")).status_code == 200


@pytest.mark.parametrize("first", [0, 1])
async def test_one_person_by_two_sign_ins_has_one_seat_as_long_as_one_holds(house: House, first: int) -> None:
    ana = await house.let_in()
    at_home = await ana.open()
    store = house.nodes[0].security.store
    signed_in, desks = [], []
    for _ in range(2):
        token, house.tokens["acme"] = await store.add_token("acme", "ben", ["agent"])
        signed_in.append(token)
        desks.append(await house.let_in(role="AGENT", name="Ben", interactionId=ana.contact))
    assert desks[0].id == desks[1].id
    sockets = [await desk.open() for desk in desks]
    last = 1 - first
    await store.remove_token(signed_in[first].id, "acme")
    assert await closed(sockets[first]) == CloseCode.NOT_AUTHENTICATED
    for token_of in (desks[first].token, desks[first].connection):
        refused = await house.participant(ana.url, "message", token_of, ContentType="text/plain", Content="x")
        assert refused.status_code == 403
    await desks[last].say("still here")
    await hears(sockets[last], "still here")
    await store.remove_token(signed_in[last].id, "acme")
    assert await closed(sockets[last]) == CloseCode.NOT_AUTHENTICATED
    while (item := await told(at_home))["ContentType"] != f"{EVENT}participant.left":
        assert item["Type"] in ("EVENT", "MESSAGE")
    assert item["ParticipantId"] == desks[0].id


@pytest.mark.parametrize("role", ["AGENT", "SUPERVISOR", "CUSTOM_BOT"])
async def test_who_was_let_in_ends_with_the_credential_and_customers_stay(house: House, role: str) -> None:
    ana = await house.let_in()
    store = house.nodes[0].security.store
    token, house.tokens["acme"] = await store.add_token("acme", "ben", ["admin"])
    customer, desk = await house.let_in(interactionId=ana.contact), await house.let_in(role=role, interactionId=ana.contact)
    at_home, too, at_work = await ana.open(), await customer.open(), await desk.open()
    await store.remove_token(token.id, "acme")
    assert await closed(at_work) == CloseCode.NOT_AUTHENTICATED
    refused = await desk.ask("message", ContentType="text/plain", Content="still here?")
    assert (refused.status_code, refused.headers["x-amzn-errortype"]) == (403, "AccessDeniedException")
    assert (await house.participant(desk.url, "connection", desk.token, Type=["CONNECTION_CREDENTIALS"])).status_code == 403
    assert (await hears(at_home, "participant.left"))["ParticipantId"] == desk.id
    await customer.say("I stay")
    for socket in (at_home, too):
        await hears(socket, "I stay")


async def test_who_was_let_in_ends_with_the_user(house: House) -> None:
    ana = await house.let_in()
    store = house.nodes[0].security.store
    await store.add_user("acme", "ben", "a long password of ben", ["admin"])
    _, house.tokens["acme"] = await store.add_token("acme", "ben")
    desk = await house.let_in(role="AGENT", interactionId=ana.contact)
    at_work = await desk.open()
    await store.remove_user("acme", "ben")
    assert await closed(at_work) == CloseCode.NOT_AUTHENTICATED
    assert (await house.participant(desk.url, "connection", desk.token, Type=["CONNECTION_CREDENTIALS"])).status_code == 403


async def test_a_hub_that_stops_sends_them_away(house: House) -> None:
    ana = await house.let_in()
    socket = await ana.open()
    await house.nodes[0]._drain()
    assert await closed(socket) == CloseCode.RESTARTING
    assert await closed(await house.open(ana.socket_url)) == CloseCode.RESTARTING


async def test_a_session_is_listed_and_ended_by_an_administrator(house: House) -> None:
    ana = await house.let_in()
    socket = await ana.open()
    (session,) = (await house.rest("GET", "/api/v1/sessions")).json()["data"]["sessions"]
    assert (session["subject"], session["door"]) == (f"participant:{ana.id}", "ws")
    assert (await house.rest("DELETE", f"/api/v1/sessions/{session['id']}")).status_code == 200
    assert await closed(socket) == CloseCode.FORBIDDEN


class Unread:
    """A connection whose client reads nothing."""

    direct_write = None

    def __init__(self) -> None:
        self.buffered = 2 * 1024 * 1024
        self.closed: list[int] = []

    def on_writable_changed(self, callback: object) -> None:
        """Nothing ever changes."""

    def write(self, frame: bytes) -> bool:
        raise AssertionError("nothing is written to who does not read")

    def close(self, code: int, reason: str = "") -> None:
        self.closed.append(code)


async def test_who_does_not_read_is_closed(house: House) -> None:
    hub = house.nodes[0].hub
    reader = Participant("acme", "p1", "4711", Role.CUSTOMER, "Ana", "x", 0, None, None, None)
    connection = Unread()
    session = ChatSession(
        hub,
        new_stream_id(hub.incarnation),
        principal_of(reader, 2**50),
        reader,
        connection,
        house.counters(),
        lambda _: True,
        lambda _: None,
    )
    hub.sessions.attach(session)
    await hub.subscriptions.subscribe(session, session.channels, granted=True)
    async with asyncio.timeout(BOUND_S):
        while not connection.closed:
            await hub.publisher.emit("acme", session.channels[0], json.dumps({"Content": "x" * 60_000}).encode())
            await asyncio.sleep(0)
    assert connection.closed == [CloseCode.TOO_SLOW]
    assert house.counters().too_slow == 1


# -- two nodes --------------------------------------------------------------------------------------------------------------


async def test_two_nodes_are_one_chat(pair: House) -> None:
    ana = await pair.let_in(node=0)
    desk = await pair.let_in(node=1, role="AGENT", interactionId=ana.contact)
    at_home, at_work = await ana.open(), await desk.open()
    await ana.say("one")
    assert (await hears(at_work, "one"))["ParticipantId"] == ana.id
    await desk.say("two")
    assert (await hears(at_home, "two"))["ParticipantId"] == desk.id
    await desk.ask("event", ContentType=f"{EVENT}typing")
    await hears(at_home, "event.typing")
    # any node answers for any participant
    ana.url = pair.urls[1]
    await ana.say("three")
    await hears(at_work, "three")
    texts = [each["Content"] for each in (await ana.ask("transcript", SortOrder="ASCENDING")).json()["Transcript"] if "Content" in each]
    assert texts == ["one", "two", "three"]


async def test_a_participant_is_gone_from_all_nodes(pair: House) -> None:
    ana = await pair.let_in(node=0)
    desk = await pair.let_in(node=1, role="AGENT", interactionId=ana.contact)
    at_home, at_work = await ana.open(), await desk.open()
    assert (await pair.rest("DELETE", f"/api/v1/participants/{desk.id}", node=0)).status_code == 200
    assert await closed(at_work) == CloseCode.NORMAL
    assert (await desk.ask("message", ContentType="text/plain", Content="x")).status_code == 403
    ana.url = pair.urls[1]
    await ana.ask("disconnect")
    await hears(at_home, "chat.ended")
    assert await closed(at_home) == CloseCode.NORMAL


async def test_an_attachment_by_two_nodes(pair: House) -> None:
    ana = await pair.let_in(node=0)
    desk = await pair.let_in(node=1, role="AGENT", interactionId=ana.contact)
    at_work = await desk.open()
    await ana.connect()
    fields = {"AttachmentName": "a.txt", "AttachmentSizeInBytes": 5, "ContentType": "text/plain", "ClientToken": "t1"}
    started = (await ana.ask("start-attachment-upload", **fields)).json()
    metadata = started["UploadMetadata"]
    upload = await pair.client.put(
        metadata["Url"].replace(pair.urls[0], pair.urls[1]), content=b"hello", headers=metadata["HeadersToInclude"]
    )
    assert upload.status_code == 200
    ana.url = pair.urls[1]
    completed = await ana.ask("complete-attachment-upload", AttachmentIds=[started["AttachmentId"]], ClientToken="c1")
    assert completed.status_code == 200
    item = await hears(at_work, "message.attachment")
    assert item["Attachments"][0]["Status"] == "APPROVED"
    link = (await desk.ask("attachment", AttachmentId=started["AttachmentId"])).json()
    assert (await pair.client.get(link["Url"])).content == b"hello"
