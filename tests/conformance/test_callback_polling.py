"""Callback-polling: Bayeux as a script, whose sender the server cannot know by cookies (docs/protocol/bayeux.md#callback-polling)."""

from __future__ import annotations

import json
from typing import Any

from tests.conformance.delivery import succeeded
from tests.conformance.rules import CALLBACK_POLLING, CHOICE, SHOULD, rule
from tests.conformance.wire import request

SCRIPT = [CALLBACK_POLLING]


def text_of(client: Any, channel: str) -> str:
    return json.dumps([client.message("/meta/subscribe", subscription=channel)])


@rule("1.13.1", "a response is 200, text/javascript in UTF-8, a call of the named function with the array", SHOULD, SCRIPT)
async def test_response(client: Any, channel: str) -> None:
    response = await client.get(message=text_of(client, channel), jsonp="_cometd_jsonp_7")
    name, (reply,) = client.called(response)
    assert (name, reply["successful"]) == ("_cometd_jsonp_7", True)
    assert response.header("Content-Type").lower().replace(" ", "") == "text/javascript;charset=utf-8"


@rule("1.13.2", "without jsonp the function is jsonpcallback", SHOULD, SCRIPT)
async def test_default_name(client: Any, channel: str) -> None:
    assert client.called(await client.get(message=text_of(client, channel)))[0] == "jsonpcallback"


@rule("1.13.3", "the name may have letters, digits and . _ -, and up to 64 characters", SHOULD, SCRIPT)
async def test_names(client: Any, channel: str) -> None:
    for name in ("a", "org.cometd.callback_1", "A-1", "x" * 64):
        assert client.called(await client.get(message=text_of(client, channel), jsonp=name))[0] == name


@rule("1.13.4", "another name is refused with status 400, and does not stand in the response", SHOULD, SCRIPT)
async def test_bad_names(client: Any, channel: str) -> None:
    for name in ("", "alert(1)//", "a b", "<script>", "a;b", "a[0]", "x" * 65, "\u00e9", "a\nb", "a=b"):
        response = await client.get(message=text_of(client, channel), jsonp=name)
        assert response.status == 400, name
        assert not name or len(name) == 1 or name.encode() not in response.body


@rule("1.13.5", "message may stand in the query several times: all are processed, in order, as one request", SHOULD, SCRIPT)
async def test_several_messages(client: Any, channel: str) -> None:
    texts = [text_of(client, f"{channel}/{number}") for number in range(3)]
    _, replies = client.called(await client.get(message=texts, jsonp="f"))
    assert [reply["subscription"] for reply in replies] == [f"{channel}/{number}" for number in range(3)]


@rule("1.13.6", "message may be a bare object", CHOICE, SCRIPT)
async def test_bare_object(client: Any, channel: str) -> None:
    text = json.dumps(client.message("/meta/subscribe", subscription=channel))
    assert client.called(await client.get(message=text, jsonp="f"))[1][0]["successful"] is True


@rule("1.13.7", "no message, or one that is not JSON, is answered with status 400", CHOICE, SCRIPT)
async def test_bad_requests(client: Any) -> None:
    bad: tuple[Any, ...] = ([], "", "nonsense", "[{", "1", "[1]", "[]")
    for message in bad:
        assert (await client.get(message=message, jsonp="f")).status == 400, message


@rule("1.13.8", "the script begins with /**/, so that no other format can be made of it", CHOICE, SCRIPT)
async def test_prefix(client: Any, channel: str) -> None:
    assert (await client.get(message=text_of(client, channel), jsonp="f")).body.startswith(b"/**/f(")


@rule("1.13.9", "U+2028 and U+2029, which end lines in a script, are escaped", SHOULD, SCRIPT)
async def test_line_ends(client: Any, new_session: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel))
    await (await new_session()).publish(channel, "a\u2028b\u2029c")
    response = await client.get(message=json.dumps([client.connect_message()]), jsonp="f")
    assert "\u2028".encode() not in response.body
    assert "\u2029".encode() not in response.body
    assert client.called(response)[1][0]["data"] == "a\u2028b\u2029c"


@rule("1.13.10", "events come with connect replies only", SHOULD, SCRIPT)
async def test_events_on_connects_only(client: Any, new_session: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel))
    await (await new_session()).publish(channel, "other's")
    assert [message["channel"] for message in await client.exchange(client.message(channel, data="own"))] == [channel]
    assert list(client.events) == []
    messages = await client.exchange(client.connect_message())
    assert [message.get("data") for message in messages] == ["other's", "own", None]


@rule("1.13.11", "its own message wakes the held connect: no other way leads to the client", SHOULD, SCRIPT)
async def test_own_message_wakes(client: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel))
    held = await client.hold()
    assert (await client.publish(channel, "own"))["successful"] is True
    assert [message.get("data") for message in await held.result()] == ["own", None]


@rule("1.13.12", "no cookie is set and none is looked at", CHOICE, SCRIPT)
async def test_no_cookies(new_client: Any, channel: str) -> None:
    client = new_client()
    await client.handshake()
    assert client.response.all("Set-Cookie") == []
    await succeeded(client.connect(), client.subscribe(channel))
    client.cookies["BAYEUX_BROWSER"] = "0" * 32
    await succeeded(client.subscribe(channel))


@rule("1.13.13", "responses are not kept by caches and not guessed at: no-store, nosniff", CHOICE, SCRIPT)
async def test_headers(client: Any, channel: str) -> None:
    response = await client.get(message=text_of(client, channel), jsonp="f")
    assert "no-store" in response.header("Cache-Control")
    assert response.header("X-Content-Type-Options") == "nosniff"


@rule("1.13.14", "the path may end with a slash or with the kind of message", SHOULD, SCRIPT)
async def test_suffixes(new_client: Any) -> None:
    for suffix in ("", "/", "/handshake", "/connect"):
        assert (await new_client(suffix=suffix).handshake())["successful"] is True


@rule("1.13.15", "percent-encoded and plus-encoded queries are read as forms are: + is a space, %2B a plus", SHOULD, SCRIPT)
async def test_encodings(client: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel))
    text = json.dumps([client.message(channel, data="a b+c&d=e%\u00e9")], ensure_ascii=True)
    encoded = "".join("+" if character == " " else f"%{ord(character):02x}" for character in text)
    response = await request(client.endpoint, "GET", client.endpoint.target(f"?jsonp=f&message={encoded}"))
    assert client.called(response)[1][-1]["successful"] is True
    assert [event["data"] for event in await client.receive()] == ["a b+c&d=e%\u00e9"]


@rule("1.13.16", "a script of any page is served: the transport is there for other origins", CHOICE, SCRIPT)
async def test_other_origins(new_client: Any) -> None:
    client = new_client(headers=[("Referer", "http://other.example/page"), ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Dest", "script")])
    assert (await client.handshake())["successful"] is True
