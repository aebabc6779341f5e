"""/meta/handshake: what it must say, what it is answered, and what is beside it (docs/protocol/bayeux.md#handshake)."""

from __future__ import annotations

from typing import Any

from tests.conformance.rules import ALL, CHOICE, EVERY, HTTP, LONG_POLLING, SHOULD, rule

BROWSER_COOKIE = "BAYEUX_BROWSER"


def set_cookies(client: Any, name: str) -> list[dict[str, str]]:
    """The attributes, in lower case, of each cookie of a name that the last response sets; the value stands under the name."""
    found = []
    for header in client.response.all("Set-Cookie"):
        pairs = [part.strip().partition("=") for part in header.split(";")]
        if pairs[0][0] == name:
            found.append({name: pairs[0][2]} | {key.lower(): value for key, _, value in pairs[1:]})
    return found


@rule("1.4.1", "the reply has channel, version 1.0, supportedConnectionTypes, a clientId and successful true")
async def test_success(new_client: Any) -> None:
    reply = await new_client().handshake()
    assert (reply["channel"], reply["version"], reply["successful"]) == ("/meta/handshake", "1.0", True)
    assert isinstance(reply["clientId"], str)
    assert reply["clientId"]
    assert all(isinstance(name, str) for name in reply["supportedConnectionTypes"])


@rule("1.4.2", "the reply has minimumVersion", CHOICE)
async def test_minimum_version(new_client: Any) -> None:
    assert (await new_client().handshake())["minimumVersion"] == "1.0"


@rule("1.4.3", "the server's connection types come in its order of preference: websocket, long-polling, callback-polling", CHOICE)
async def test_order_of_types(new_client: Any) -> None:
    offered = (await new_client().handshake(supportedConnectionTypes=list(reversed(EVERY))))["supportedConnectionTypes"]
    assert offered == [name for name in EVERY if name in offered]
    assert set(ALL) <= set(offered)


@rule("1.4.4", "one connection type in common is enough, whatever else the client offers")
async def test_one_common_type(new_client: Any, transport: str) -> None:
    reply = await new_client().handshake(supportedConnectionTypes=["iframe", transport, "smoke-signals"])
    assert reply["successful"] is True


@rule("1.4.5", "without a common connection type the handshake fails")
async def test_no_common_type(new_client: Any) -> None:
    for offered in (["iframe"], [], ["WEBSOCKET"]):
        reply = await new_client().handshake(supportedConnectionTypes=offered)
        assert (reply["channel"], reply["successful"]) == ("/meta/handshake", False)
        assert reply["error"]
        assert "clientId" not in reply


@rule("1.4.6", "a handshake without supportedConnectionTypes fails")
async def test_types_missing(new_client: Any) -> None:
    reply = await new_client().handshake(supportedConnectionTypes=None)
    assert (reply["successful"], bool(reply["error"])) == (False, True)


@rule("1.4.7", "the reply advises reconnect retry and how long a connect is held", SHOULD)
async def test_advice(new_client: Any) -> None:
    advice = (await new_client().handshake())["advice"]
    assert advice["reconnect"] == "retry"
    assert advice["timeout"] > 0


@rule("C3.advice.handshake", "the advice of a handshake reply is whole: reconnect, interval, timeout", CHOICE)
async def test_whole_advice(new_client: Any) -> None:
    advice = (await new_client().handshake())["advice"]
    assert (set(advice), advice["interval"]) == ({"reconnect", "interval", "timeout"}, 0)


@rule("C3.advice.failed-handshake", "a handshake that fails for good is told so: reconnect none, in a whole advice", CHOICE)
async def test_advice_of_a_failure(new_client: Any) -> None:
    advice = (await new_client().handshake(supportedConnectionTypes=["iframe"]))["advice"]
    assert (set(advice), advice["reconnect"]) == ({"reconnect", "interval", "timeout"}, "none")


@rule("1.4.8", "a client of an older version, or one that names none, is let in", CHOICE)
async def test_version_is_not_looked_at(new_client: Any) -> None:
    for version in (None, "0.9", "1.0beta", "2.0"):
        assert (await new_client().handshake(version=version, minimumVersion=version))["successful"] is True


@rule("1.4.9", "the id of the handshake is echoed")
async def test_id(new_client: Any) -> None:
    assert (await new_client().handshake(id="shake42"))["id"] == "shake42"


@rule("1.4.10", "the advice of the client (timeout, interval) is taken")
async def test_advice_of_the_client(new_client: Any) -> None:
    assert (await new_client().handshake(advice={"timeout": 60000, "interval": 0}))["successful"] is True


@rule("1.4.11", "a second handshake gives another session; the first lives on", SHOULD)
async def test_second_handshake(client: Any, channel: str) -> None:
    first = client.client_id
    await client.start()
    assert client.client_id != first
    assert (await client.publish(channel, 1, clientId=first))["successful"] is True
    assert (await client.publish(channel, 1))["successful"] is True


@rule("1.4.12", "a handshake that names an old clientId gives a new session", SHOULD)
async def test_handshake_with_client_id(client: Any) -> None:
    first = client.client_id
    reply = await client.handshake(clientId=first)
    assert reply["successful"] is True
    assert reply["clientId"] != first


@rule("C3.handshake.beside", "messages beside a handshake are each answered 402::session_unknown", CHOICE)
async def test_messages_beside(new_client: Any, channel: str) -> None:
    client = new_client()
    messages = await client.exchange(
        client.handshake_message(),
        client.message("/meta/subscribe", subscription=channel, clientId="x"),
        client.message(channel, data=1, clientId="x"),
    )
    assert [message["channel"] for message in messages] == ["/meta/handshake", "/meta/subscribe", channel]
    assert [message.get("error") for message in messages] == [None, "402::session_unknown", "402::session_unknown"]


@rule("1.4.13", "messages beside a handshake have no effect, also those of a session that exists", CHOICE)
async def test_messages_beside_are_ignored(client: Any, new_session: Any, channel: str) -> None:
    assert (await client.subscribe(channel))["successful"] is True
    other = await new_session()
    messages = await other.exchange(other.message(channel, data="beside"), other.handshake_message())
    assert len(messages) == 2
    await other.start()
    await other.publish(channel, "after")
    assert [event["data"] for event in await client.receive()] == ["after"]


@rule("1.4.14", "no events come with the reply to a handshake", SHOULD, HTTP)
async def test_nothing_rides_on_a_handshake(client: Any, new_session: Any, channel: str) -> None:
    await client.subscribe(channel)
    await (await new_session()).publish(channel, 1)
    messages = await client.exchange(client.handshake_message())
    assert [message["channel"] for message in messages] == ["/meta/handshake"]


@rule("1.4.15", "over HTTP the reply sets the cookie BAYEUX_BROWSER if the request had none", SHOULD, [LONG_POLLING])
async def test_browser_cookie(new_client: Any) -> None:
    client = new_client()
    await client.handshake()
    (cookie,) = set_cookies(client, BROWSER_COOKIE)
    assert len(cookie[BROWSER_COOKIE]) >= 16


@rule("1.4.16", "the cookie holds for every path and is hidden from scripts: Path=/, HttpOnly", SHOULD, [LONG_POLLING])
async def test_attributes_of_the_cookie(new_client: Any) -> None:
    client = new_client()
    await client.handshake()
    (cookie,) = set_cookies(client, BROWSER_COOKIE)
    assert cookie["path"] == "/"
    assert "httponly" in cookie


@rule("C3.cookie", "the cookie is SameSite=Lax, ends with the browser, and is Secure under TLS only", CHOICE, [LONG_POLLING])
async def test_more_attributes_of_the_cookie(new_client: Any) -> None:
    client = new_client()
    await client.handshake()
    (cookie,) = set_cookies(client, BROWSER_COOKIE)
    assert cookie["samesite"] == "Lax"
    assert not {"max-age", "expires", "domain"} & set(cookie)
    assert ("secure" in cookie) == client.endpoint.url.startswith("https:")


@rule("1.4.17", "a request that brings BAYEUX_BROWSER gets no other one", SHOULD, [LONG_POLLING])
async def test_cookie_is_kept(new_client: Any) -> None:
    client = new_client()
    await client.handshake()
    await client.handshake()
    assert set_cookies(client, BROWSER_COOKIE) == []


@rule("1.4.18", "only a successful handshake sets the cookie", SHOULD, [LONG_POLLING])
async def test_cookie_of_a_failure(new_client: Any, channel: str) -> None:
    client = new_client()
    assert (await client.handshake(supportedConnectionTypes=["iframe"]))["successful"] is False
    assert set_cookies(client, BROWSER_COOKIE) == []
    await client.publish(channel, 1, clientId="x")
    assert set_cookies(client, BROWSER_COOKIE) == []


@rule("C3.cookie.statistics", "on /statistics/v3/notifications STATISTICS_SESSIONID is set too, and first", CHOICE, [LONG_POLLING])
async def test_statistics_cookie(new_client: Any) -> None:
    client = new_client(path="/statistics/v3/notifications")
    assert (await client.handshake())["successful"] is True
    names = [header.partition("=")[0] for header in client.response.all("Set-Cookie")]
    assert names == ["STATISTICS_SESSIONID", BROWSER_COOKIE]
    (cookie,) = set_cookies(client, "STATISTICS_SESSIONID")
    assert (cookie["path"], cookie["samesite"], "httponly" in cookie) == ("/", "Lax", True)
    await client.handshake()
    assert client.response.all("Set-Cookie") == []
