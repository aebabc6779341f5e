"""/meta/handshake, and whose a session is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from hub.bayeux.ports import Peer
from hub.core.limits import Limits
from tests.hub.bayeux.harness import HANDSHAKE, NONE, RETRY, Bayeux, Client, Tokens, by_token, handshake
from tests.hub.core.harness import principal


async def test_reply_holds_all_of_it() -> None:
    (reply,) = await Bayeux().post(by_token())
    client_id = reply.pop("clientId")
    assert client_id.isalnum()
    assert len(client_id) >= 32
    assert reply == {
        "id": "1",
        "channel": "/meta/handshake",
        "successful": True,
        "version": "1.0",
        "minimumVersion": "1.0",
        "supportedConnectionTypes": ["websocket", "long-polling", "callback-polling"],
        "advice": RETRY,
    }


async def test_advice_says_what_the_limits_say() -> None:
    (reply,) = await Bayeux(limits=Limits(timeout_ms=500, interval_ms=7)).post(by_token())
    assert reply["advice"] == {"reconnect": "retry", "interval": 7, "timeout": 500}


async def test_client_ids_differ() -> None:
    bayeux = Bayeux()
    assert len({(await bayeux.post(by_token()))[0]["clientId"] for _ in range(20)}) == 20


@pytest.mark.parametrize("version", ["0.9", "1.0", "2", 1.0, None, "missing"])
async def test_version_is_not_looked_at(version: object) -> None:
    message = by_token() | {"version": version}
    if version == "missing":
        del message["version"]
    (reply,) = await Bayeux().post(message)
    assert reply["successful"]


@pytest.mark.parametrize("types", [[], ["polling"], ["iframe", "flash"], None])
async def test_no_common_connection_type(types: object) -> None:
    bayeux = Bayeux()
    (reply,) = await bayeux.post(by_token() | {"supportedConnectionTypes": types})
    assert (reply["successful"], reply["error"]) == (False, "301::connection_types_unsupported")
    assert reply["supportedConnectionTypes"] == ["websocket", "long-polling", "callback-polling"]
    assert reply["advice"] == NONE
    assert not bayeux.server.sessions


@pytest.mark.parametrize("types", [["long-polling"], ["websocket"], ["x", "long-polling", "y"]])
async def test_one_common_connection_type_is_enough(types: list[str]) -> None:
    (reply,) = await Bayeux().post(by_token() | {"supportedConnectionTypes": types})
    assert reply["successful"]


@pytest.mark.parametrize("ext", [{}, {"authentication": {"token": "bad"}}, {"authentication": "ann"}, {"authentication": []}, {"x": 1}])
async def test_denied(ext: dict[str, Any]) -> None:
    bayeux = Bayeux()
    (reply,) = await bayeux.post(handshake(ext=ext))
    assert reply == {"id": "1", "channel": "/meta/handshake", "successful": False, "error": "403::handshake_denied", "advice": NONE}
    assert bayeux.server.counters.handshakes_denied == 1
    assert not bayeux.hub.sessions.by_id


async def test_anonymous_where_they_are_let_in() -> None:
    bayeux = Bayeux(tokens=Tokens(open=True))
    (reply,) = await bayeux.post(handshake())
    assert bayeux.server.sessions[reply["clientId"]].principal.anonymous


async def test_bad_credentials_are_refused_where_anonymous_are_let_in() -> None:
    (reply,) = await Bayeux(tokens=Tokens(open=True)).post(by_token("bad"))
    assert reply["error"] == "403::handshake_denied"


async def test_headers_come_before_ext() -> None:
    bayeux = Bayeux()
    (reply,) = await bayeux.post(by_token("ext"), peer=Peer(principal=principal("header"), presented=True))
    assert bayeux.server.sessions[reply["clientId"]].principal.subject == "header"
    assert bayeux.tokens.asked == []


async def test_bad_headers_are_refused_rather_than_skipped() -> None:
    (reply,) = await Bayeux(tokens=Tokens(open=True)).post(by_token(), peer=Peer(presented=True))
    assert reply["error"] == "403::handshake_denied"


async def test_statistics_session_goes_to_the_gate() -> None:
    bayeux = Bayeux()
    await bayeux.post(by_token(), peer=Peer(browsers=("b",), statistics_session="s"))
    assert bayeux.tokens.asked == [({"token": "ann"}, "s")]


async def test_messages_beside_a_handshake_are_answered_402() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    replies = await client.post(client.message("/a", id="a", data=1), by_token(), client.subscribe("/a", id="b"), client.connect(id="c"))
    assert [reply.get("error") for reply in replies] == [None, *["402::session_unknown"] * 3]
    assert replies[0]["channel"] == "/meta/handshake"
    assert [reply.get("id") for reply in replies] == ["1", "a", "b", "c"]
    assert replies[2]["subscription"] == "/a"
    assert replies[3]["advice"] == HANDSHAKE
    assert client.session.subscriptions == {}


async def test_second_handshake_of_a_request_is_answered_402() -> None:
    first, second = await Bayeux().post(by_token(), by_token())
    assert (first["successful"], second["error"]) == (True, "402::session_unknown")


async def test_below_the_channel_is_no_handshake() -> None:
    (reply,) = await Bayeux().post({"channel": "/meta/handshake/x", "supportedConnectionTypes": ["long-polling"]})
    assert reply["error"] == "402::session_unknown"


async def test_escaped_slashes_are_slashes() -> None:
    payload = b'[{"channel":"\\/meta\\/handshake","supportedConnectionTypes":["long-polling"],"ext":{"authentication":{"token":"ann"}}}]'
    batch = await Bayeux().request(payload)
    assert batch.opened is not None


async def test_too_many_sessions() -> None:
    bayeux = Bayeux(limits=Limits(max_sessions=1))
    await bayeux.post(by_token())
    (reply,) = await bayeux.post(by_token())
    assert (reply["successful"], reply["error"]) == (False, "429::rate_limited")
    assert reply["advice"] == {"reconnect": "handshake", "interval": 4999, "timeout": 20000}
    assert bayeux.server.counters.handshakes_limited == 1


async def test_too_many_unconnected() -> None:
    bayeux = Bayeux(limits=Limits(max_unconnected=1))
    client = Client(bayeux)
    await client.shake()
    (refused,) = await bayeux.post(by_token())
    assert refused["error"] == "429::rate_limited"
    await client.post(client.connect(timeout=0))
    (reply,) = await bayeux.post(by_token())
    assert reply["successful"]


async def test_one_tenant_does_not_take_the_room_of_all_that_are_not_connected() -> None:
    bayeux = Bayeux(limits=Limits(max_unconnected=4))
    for _ in range(2):
        assert (await bayeux.post(by_token()))[0]["successful"]
    assert (await bayeux.post(by_token()))[0]["error"] == "429::rate_limited"
    other = Peer(principal=principal("bob", tenant="other"), presented=True)
    for _ in range(2):
        assert (await bayeux.post(by_token(), peer=other))[0]["successful"]
    assert bayeux.hub.counters.refused_unconnected == 1


@dataclass
class Counted:
    """A connection that notes who was let in on it."""

    limited_address: str | None = "192.0.2.1"
    admitted: list[bool] = field(default_factory=list)

    def admit(self, *, anonymous: bool, tenant: str = "") -> None:
        self.admitted.append(anonymous)


async def test_an_address_asks_for_so_many_sessions_in_a_second_good_credentials_or_not() -> None:
    bayeux = Bayeux(limits=Limits(handshakes_per_s_per_address=3))
    peer = Peer(connection=Counted())
    for _ in range(3):
        assert (await bayeux.post(by_token("bad"), peer=peer))[0]["error"] == "403::handshake_denied"
    (reply,) = await bayeux.post(by_token(), peer=peer)
    assert (reply["error"], reply["advice"]["reconnect"]) == ("429::rate_limited", "handshake")
    assert (await bayeux.post(by_token(), peer=Peer(connection=Counted("192.0.2.2"))))[0]["successful"]
    assert (await bayeux.post(by_token(), peer=Peer(connection=Counted(None))))[0]["successful"]
    bayeux.pass_time(1)
    assert (await bayeux.post(by_token(), peer=peer))[0]["successful"]


async def test_the_connection_is_told_who_was_let_in() -> None:
    bayeux = Bayeux(tokens=Tokens(open=True))
    shown, anonymous, refused = Counted(), Counted(), Counted()
    (reply,) = await bayeux.post(by_token(), peer=Peer(browsers=("b",), connection=shown))
    assert shown.admitted == [False]
    another = Counted()
    await bayeux.post(
        {"channel": "/meta/connect", "clientId": reply["clientId"], "connectionType": "long-polling"},
        peer=Peer(browsers=("b",), connection=another),
    )
    assert another.admitted == [False]
    await bayeux.post(handshake(), peer=Peer(connection=anonymous))
    await bayeux.post(by_token("bad"), peer=Peer(connection=refused))
    assert (anonymous.admitted, refused.admitted) == ([True], [])


async def test_expired_unconnected_make_room() -> None:
    bayeux = Bayeux(limits=Limits(max_unconnected=1))
    await bayeux.post(by_token())
    bayeux.pass_time(11)
    (reply,) = await bayeux.post(by_token())
    assert reply["successful"]


async def test_login_is_there_from_handshake_to_end() -> None:
    bayeux = Bayeux()
    gone: list[tuple[str, str]] = []
    bayeux.hub.logins.on_gone.append(lambda tenant, audience: gone.append((tenant, audience)))
    client = await bayeux.client()
    assert bayeux.hub.logins.has("t", "token-ann")
    await client.post(client.message("/meta/disconnect"))
    assert gone == [("t", "token-ann")]


# -- whose a session is -------------------------------------------------------------------------------------------------

HEADER = {"principal": principal("ann"), "presented": True}
OTHER = {"principal": principal("eve"), "presented": True}
SITE = "https://desk.example"
FOREIGN = {"principal": principal("ann", tenant="other"), "presented": True}


@pytest.mark.parametrize(
    ("made", "used", "answered"),
    [
        # made with a header or the sign-in cookie: the same caller, from any browser
        (HEADER, HEADER, True),
        (HEADER, {**HEADER, "browsers": ("other",)}, True),
        (HEADER, {**HEADER, "by_cookie": True}, True),
        (HEADER, OTHER, False),
        (HEADER, FOREIGN, False),
        (HEADER, {}, False),
        (HEADER, {"browsers": ("browser",)}, False),
        (HEADER, {"presented": True}, False),
        ({**HEADER, "by_cookie": True, "browsers": ("b",)}, {"browsers": ("b",)}, False),
        # made without: the same browser, and no header that says otherwise
        ({"browsers": ("b",)}, {"browsers": ("b",)}, True),
        ({"browsers": ("b",)}, {"browsers": ("c",)}, False),
        ({"browsers": ("b",)}, {}, False),
        ({"browsers": ("b",)}, {"browsers": ("b",), **HEADER}, True),
        ({"browsers": ("b",)}, {"browsers": ("c",), **HEADER}, True),  # the same caller, by a credential
        ({"browsers": ("b",)}, {"browsers": ("b",), **OTHER}, False),
        ({"browsers": ("b",)}, {"browsers": ("b",), "presented": True}, False),
        # a browser sends the sign-in cookie whoever asks
        ({"browsers": ("b",)}, {"browsers": ("b",), "presented": True, "by_cookie": True}, True),
        ({"browsers": ("b",)}, {"browsers": ("b",), **OTHER, "by_cookie": True}, True),
        # of several cookies any that fits, in front of it one of a browser that nobody here knows
        ({"browsers": ("b",)}, {"browsers": ("x", "b")}, True),
        ({"browsers": ("x", "b")}, {"browsers": ("x",)}, True),
        # over HTTP the clientId alone is of no use
        ({"offered": "b"}, {}, False),
        ({"offered": "b"}, {"browsers": ("b",)}, True),
        ({"offered": "b"}, {"browsers": ("unknown",)}, False),
        # but from a page of another site, where the browser withholds the cookie
        ({"offered": "b", "origin": SITE}, {"origin": SITE}, True),
        ({"offered": "b", "origin": SITE}, {"origin": SITE, "browsers": ("unknown",)}, True),
        ({"offered": "b", "origin": SITE}, {"origin": "https://evil.example"}, False),
        ({"offered": "b", "origin": SITE}, {}, False),
        ({"offered": "b", "origin": SITE}, {"origin": SITE, **OTHER}, False),
        ({"offered": "b", "origin": SITE}, {"origin": SITE, "presented": True, "by_cookie": True}, False),
        ({"offered": "b"}, {"origin": SITE}, False),
        ({"browsers": ("unknown",), "origin": SITE}, {"origin": SITE}, True),
        (HEADER | {"origin": SITE}, {"origin": SITE}, False),
        # over callback-polling, which has no cookies, for those made by it
        ({"callback": True}, {"callback": True}, True),
        ({"callback": True}, {}, False),
        ({"callback": True}, {"browsers": ("any",)}, False),
        ({"offered": "b"}, {"callback": True}, False),
    ],
)
async def test_session_answers_to_its_own_alone(made: dict[str, Any], used: dict[str, Any], answered: bool) -> None:
    client = Client(Bayeux(), peer=Peer(**made))
    await client.shake()
    (reply,) = await client.bayeux.post(client.message("/a", data=1), peer=Peer(**used))
    assert (reply["successful"], reply.get("error")) == ((True, None) if answered else (False, "402::session_unknown"))


async def test_cookie_of_another_session_is_no_way_into_this_one() -> None:
    bayeux = Bayeux()
    client = await bayeux.client(peer=Peer(offered="b", origin=SITE))
    await bayeux.client(peer=Peer(browsers=("c",)), message=by_token("eve"))
    eve = Peer(browsers=("c",), origin=SITE)
    (reply,) = await bayeux.post(client.message("/a", data=1), peer=eve)
    assert reply["error"] == "402::session_unknown"


async def test_a_cookie_is_as_if_absent_when_its_last_session_has_ended() -> None:
    bayeux = Bayeux()
    client = await bayeux.client(peer=Peer(offered="b", origin=SITE))
    other = await bayeux.client(peer=Peer(browsers=("c",)))
    await other.post(other.message("/meta/disconnect"))
    assert bayeux.server.registry.browsers == {"b": 1}
    (reply,) = await bayeux.post(client.message("/a", data=1), peer=Peer(browsers=("c",), origin=SITE))
    assert reply["successful"]
    assert bayeux.server.counters.resumed_by_id == 2  # its connect, and this


async def test_of_several_cookies_a_handshake_takes_the_one_of_a_session_here() -> None:
    bayeux = Bayeux()
    await bayeux.client(peer=Peer(browsers=("b",)))
    client = await bayeux.client(peer=Peer(browsers=("of-another-hub", "b")))
    (reply,) = await bayeux.post(client.message("/a", data=1), peer=Peer(browsers=("b",)))
    assert reply["successful"]


@pytest.mark.parametrize("made", [{"offered": "b"}, {"browsers": ("b",)}, {"callback": True}, {"offered": "b", "origin": SITE}])
async def test_a_socket_without_a_cookie_goes_on_by_the_client_id_alone(made: dict[str, Any]) -> None:
    """Faye opens its WebSocket before the handshake's reply has brought the cookie."""
    bayeux = Bayeux()
    client = await bayeux.client(peer=Peer(**made))
    socket = bayeux.socket(offered="c")
    (reply,) = await socket.send(client.message("/a", data=1))
    assert reply["successful"]


async def test_a_cookie_offered_to_an_open_socket_goes_on_by_the_client_id() -> None:
    """Faye opens its WebSocket beside the handshake: the cookie of the upgrade's answer may come last, and take the place of the other."""
    bayeux = Bayeux()
    client = await bayeux.client(peer=Peer(browsers=("b",)))
    socket = bayeux.socket(offered="c")
    for browsers in (("c",), ("b",)):
        (reply,) = await bayeux.post(client.message("/a", data=1), peer=Peer(browsers=browsers))
        assert reply["successful"]
    socket.connection.gone()
    for browsers in (("c",), ("b",)):  # the session keeps both
        (reply,) = await bayeux.post(client.message("/a", data=1), peer=Peer(browsers=browsers))
        assert reply["successful"]
    assert bayeux.server.counters.resumed_by_id == 1
    assert bayeux.server.registry.browsers == {"b": 1, "c": 1}
    await bayeux.post(client.message("/meta/disconnect"), peer=Peer(browsers=("b",)))
    assert (bayeux.server.registry.browsers, bayeux.server.registry.offered) == ({}, set())


async def test_a_session_falls_back_to_http_with_the_cookie_of_its_socket() -> None:
    bayeux = Bayeux()
    client = await bayeux.client(peer=Peer(browsers=("b",)))
    for number in range(3):
        socket = bayeux.socket(offered=f"c{number}")
        await socket.send(client.message("/a", data=1))
        socket.connection.gone()
    assert bayeux.server.registry.browsers == {"b": 1, "c2": 1}
    answers = []
    for cookie in ("c0", "c2", "b"):
        (reply,) = await bayeux.post(client.message("/a", data=1), peer=Peer(browsers=(cookie,)))
        answers.append(reply["successful"])
    assert answers == [False, True, True]


async def test_a_session_without_a_cookie_keeps_the_one_of_its_newest_socket() -> None:
    bayeux = Bayeux()
    client = await bayeux.client(peer=Peer(callback=True))
    for number in range(3):
        socket = bayeux.socket(offered=f"c{number}")
        await socket.send(client.message("/a", data=1))
        socket.connection.gone()
    assert bayeux.server.registry.browsers == {"c2": 1}


@pytest.mark.parametrize(
    ("made", "limits"),
    [
        ({"browsers": ("b",)}, Limits(session_binding="strict")),
        (HEADER, Limits()),
    ],
)
async def test_a_cookie_offered_to_a_socket_is_no_way_in_where_the_client_id_is_none(made: dict[str, Any], limits: Limits) -> None:
    bayeux = Bayeux(limits=limits)
    client = await bayeux.client(peer=Peer(**made))
    bayeux.socket(offered="c")
    (reply,) = await bayeux.post(client.message("/a", data=1), peer=Peer(browsers=("c",)))
    assert reply["error"] == "402::session_unknown"


@pytest.mark.parametrize("close", [True, False])
async def test_a_cookie_of_a_socket_with_a_session_of_its_own_or_closed_is_no_way_in(*, close: bool) -> None:
    bayeux = Bayeux()
    client = await bayeux.client(peer=Peer(browsers=("b",)))
    socket = bayeux.socket(offered="c")
    if close:
        socket.connection.gone()
    else:
        await socket.send(by_token("eve"))
    (reply,) = await bayeux.post(client.message("/a", data=1), peer=Peer(browsers=("c",)))
    assert reply["error"] == "402::session_unknown"


@pytest.mark.parametrize(
    ("used", "ext"),
    [
        ({"browsers": ("of-eve",)}, None),
        (OTHER, None),
        ({"presented": True}, None),
        ({"presented": True, "by_cookie": True}, None),
        ({}, {"authentication": {"token": "eve"}}),
        ({}, {"authentication": "no object"}),
    ],
)
async def test_a_socket_that_says_it_is_somebody_else_is_refused(used: dict[str, Any], ext: Any) -> None:
    bayeux = Bayeux()
    await bayeux.client(peer=Peer(browsers=("of-eve",)), message=by_token("eve"))
    client = await bayeux.client(peer=Peer(offered="b"))
    socket = bayeux.socket(**used)
    members = {} if ext is None else {"ext": ext}
    (reply,) = await socket.send(client.message("/a", data=1, **members))
    assert reply["error"] == "402::session_unknown"


async def test_a_session_of_a_header_credential_is_no_sockets_by_its_client_id() -> None:
    bayeux = Bayeux()
    client = await bayeux.client(peer=Peer(**HEADER))
    (reply,) = await bayeux.socket().send(client.message("/a", data=1))
    assert reply["error"] == "402::session_unknown"


@pytest.mark.parametrize("peer", [{"callback": True}, {"offered": "b", "origin": SITE}])
async def test_strict_binding_leads_nobody_back_by_the_client_id_alone(peer: dict[str, Any]) -> None:
    bayeux = Bayeux(limits=Limits(session_binding="strict"))
    client = Client(bayeux, peer=Peer(**peer))
    await client.shake()
    for reply in await client.post(client.message("/a", data=1)) + await bayeux.socket().send(client.message("/a", data=1)):
        assert reply["error"] == "402::session_unknown"
    (proven,) = await client.post(client.message("/a", data=1, ext={"authentication": {"token": "ann"}}))
    assert proven["successful"]


async def test_strict_binding_goes_on_over_the_socket_of_the_handshake() -> None:
    client = Bayeux(limits=Limits(session_binding="strict")).socket()
    await client.open()


async def test_connect_of_a_foreigner_is_told_to_shake_hands() -> None:
    client = await Bayeux().client()
    (reply,) = await client.bayeux.post(client.connect(), peer=Peer(browsers=("other",)))
    assert (reply["error"], reply["advice"]) == ("402::session_unknown", HANDSHAKE)


async def test_foreigner_does_not_end_the_held_connect() -> None:
    client = await Bayeux().client()
    held = await client.hold()
    await client.bayeux.post(client.connect(), peer=Peer(browsers=("other",)))
    assert not held.done


@pytest.mark.parametrize("client_id", [None, "", "nobody", "x" * 10_000])
@pytest.mark.parametrize("channel", ["/a", "/meta/subscribe", "/meta/unsubscribe", "/meta/disconnect", "/meta/connect", "/meta/x"])
async def test_unknown_session(channel: str, client_id: str | None) -> None:
    bayeux = Bayeux()
    (reply,) = await bayeux.post({"id": "3", "channel": channel, "clientId": client_id, "data": 1, "subscription": ["/a"]})
    expected: dict[str, Any] = {"id": "3", "channel": channel, "successful": False, "error": "402::session_unknown"}
    if channel == "/meta/connect":
        expected["advice"] = HANDSHAKE
    elif channel.endswith("subscribe"):
        expected["subscription"] = ["/a"]
    assert reply == expected
    assert bayeux.server.counters.sessions_unknown == 1


async def test_second_message_cannot_take_another_session() -> None:
    bayeux = Bayeux()
    eve = await bayeux.client(message=by_token("eve"))
    ann = await bayeux.client()
    first, second = await eve.post(eve.message("/a", data=1), ann.subscribe("/secret-of-ann"))
    assert first["successful"]
    assert second["error"] == "402::session_unknown"
    assert ann.session.subscriptions == {}


async def test_messages_without_a_client_id_are_refused_beside_good_ones() -> None:
    client = await Bayeux().client()
    first, second = await client.post({"channel": "/a", "data": 1}, client.message("/a", data=2))
    assert (first["error"], second["successful"]) == ("402::session_unknown", True)


async def test_authenticated_websocket_session_answers_to_nobody_who_only_has_its_client_id() -> None:
    client = Client(Bayeux(), peer=Peer(offered="cookie"))
    await client.shake()
    (stolen,) = await client.bayeux.post(client.message("/a", data=1), peer=Peer())
    assert stolen["error"] == "402::session_unknown"
    (again,) = await client.bayeux.post(client.message("/a", data=1), peer=Peer(browsers=("cookie",)))
    assert again["successful"] is True


async def test_authenticated_websocket_session_is_taken_over_with_the_same_credential() -> None:
    client = Client(Bayeux(), peer=Peer(offered="cookie"))
    await client.shake()
    (refused,) = await client.bayeux.post(client.message("/a", data=1, ext={"authentication": {"token": "bob"}}), peer=Peer())
    assert refused["error"] == "402::session_unknown"
    (taken,) = await client.bayeux.post(client.message("/a", data=1, ext={"authentication": {"token": "ann"}}), peer=Peer())
    assert taken["successful"] is True


async def test_second_handshake_of_a_request_is_told_what_to_do() -> None:
    bayeux = Bayeux()
    handshake = {"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["long-polling"]}
    first, second = await bayeux.post({**handshake, "id": "1"}, {**handshake, "id": "2"}, peer=Peer())
    assert (first["id"], second["id"], second["error"]) == ("1", "2", "402::session_unknown")
    assert second["advice"] == {"reconnect": "handshake", "interval": 0, "timeout": 20000}
