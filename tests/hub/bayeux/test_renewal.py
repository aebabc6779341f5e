"""Newer credentials that Bayeux clients show on their live sessions, and what they are told of the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hub.bayeux.ports import Peer
from hub.core.decision import Decision
from hub.core.ending import end_unverified
from hub.core.errors import RefusedError, WireError
from hub.core.principal import Action, Principal
from tests.hub.bayeux.harness import RETRY, Answer, Bayeux, Client, Json, Tokens, by_token, handshake
from tests.world import decided

ROLES = frozenset({"/free", "/more"})


class Known(Tokens):
    """The tokens of a table. An unknown one stands for nobody."""

    def __init__(self) -> None:
        super().__init__()
        self.table: dict[str, Principal] = {}
        self.fault: Exception | None = None
        self.ended: set[str] = set()
        """The credentials, by id, that ended after they were looked up."""

    def add(self, token: str, *, subject: str = "ann", roles: frozenset[str] = ROLES, ends_ms: int | None = None) -> Principal:
        made = Principal("t", subject, roles, f"login-{token}", f"login-{token}", credential=f"token:{token}", expires_ms=ends_ms)
        self.table[token] = made
        return made

    def still_good(self, principal: Principal) -> bool:
        return principal.credential not in self.ended

    async def from_ext(self, authentication: object, *, statistics_session: str | None = None) -> Answer:
        self.asked.append((authentication, statistics_session))
        if self.fault is not None:
            raise self.fault
        token = authentication.get("token") if isinstance(authentication, dict) else None
        return Answer(self.table.get(token) if isinstance(token, str) else None)


class ByRole:
    """A role is the beginning of what it may hear."""

    async def decide(self, who: Principal, action: Action, resource: str) -> Decision:
        return decided(any(resource.startswith(role) for role in who.roles))


@pytest.fixture
def known() -> Known:
    return Known()


@pytest.fixture
def bayeux(known: Known) -> Bayeux:
    made = Bayeux(tokens=known)
    made.hub.subscriptions._authorizer = ByRole()
    return made


def showing(token: str) -> Json:
    return {"ext": {"authentication": {"token": token}}}


def ends(bayeux: Bayeux, seconds: int) -> int:
    return bayeux.clock.wall_ms() + seconds * 1000


async def of(bayeux: Bayeux, known: Known, *, ends_in_s: int | None = 3600, peer: Peer | None = None) -> Client:
    """A client of ann's first token."""
    known.add("first", ends_ms=None if ends_in_s is None else ends(bayeux, ends_in_s))
    return await bayeux.client(message=by_token("first"), peer=peer)


async def test_the_handshake_tells_when_the_credential_ends(bayeux: Bayeux, known: Known) -> None:
    known.add("first", ends_ms=ends(bayeux, 3600))
    known.add("endless")
    for token, ext in (("first", {"authentication": {"expiresIn": 3600}}), ("endless", None)):
        (reply,) = await bayeux.post(by_token(token))
        assert reply.get("ext") == ext


MESSAGES: dict[str, Callable[[Client], Json]] = {
    "connect": lambda client: client.connect(timeout=0),
    "subscribe": lambda client: client.subscribe("/free/x"),
    "unsubscribe": lambda client: client.message("/meta/unsubscribe", subscription="/free/x"),
    "publish": lambda client: client.message("/free/x", data={}),
}


@pytest.mark.parametrize("kind", MESSAGES)
async def test_any_message_may_show_a_newer_token(bayeux: Bayeux, known: Known, kind: str) -> None:
    client = await of(bayeux, known)
    known.add("second", ends_ms=ends(bayeux, 7200))
    replies = await client.post({**MESSAGES[kind](client), **showing("second")})
    assert replies[-1]["successful"]
    own = client.session.principal
    assert (own.credential, own.login) == ("token:second", "login-first")
    if kind != "connect":
        replies = await client.post(client.connect())  # it is answered at once, and tells the new end
    assert replies[-1]["ext"] == {"authentication": {"expiresIn": 7200}}
    await client.hold()


@pytest.mark.parametrize("kind", MESSAGES)
@pytest.mark.parametrize("other", ["bob's", "unknown", "no token"])
async def test_a_message_that_shows_a_bad_one_is_refused_and_the_session_goes_on(
    bayeux: Bayeux, known: Known, kind: str, other: str
) -> None:
    client = await of(bayeux, known)
    known.add("bob's", subject="bob")
    shown = {"ext": {"authentication": "?"}} if other == "no token" else showing(other)
    (reply,) = await client.post({**MESSAGES[kind](client), **shown})
    assert (reply["successful"], reply["error"]) == (False, "403::credential_denied")
    if kind == "connect":  # not at once again: it would show the same
        assert reply["advice"] == {**RETRY, "interval": 1000}
    assert client.session.principal.credential == "token:first"
    assert client.session.subscriptions == {}
    assert bayeux.hub.counters.renewals_refused == 1
    await client.hold()


async def test_the_other_messages_of_its_request_are_carried_out(bayeux: Bayeux, known: Known) -> None:
    client = await of(bayeux, known)
    replies = await client.post({**client.subscribe("/free/x"), **showing("unknown")}, client.subscribe("/free/y"))
    assert [reply["successful"] for reply in replies] == [False, True]
    assert list(client.session.subscriptions) == ["/free/y"]


async def test_while_credentials_cannot_be_looked_up_the_session_goes_on(bayeux: Bayeux, known: Known) -> None:
    client = await of(bayeux, known)
    known.fault = RefusedError(WireError.UNAVAILABLE)
    (reply,) = await client.post({**client.connect(), **showing("second")})
    assert reply["error"] == "503::unavailable"
    assert client.session.principal.credential == "token:first"


async def test_a_newer_token_in_a_header_is_taken(bayeux: Bayeux, known: Known) -> None:
    client = await of(bayeux, known, peer=Peer(principal=known.add("first"), presented=True))
    client.peer = Peer(principal=known.add("second", ends_ms=ends(bayeux, 90)), presented=True)
    (reply,) = await client.post(client.connect())
    assert reply["ext"] == {"authentication": {"expiresIn": 90}}
    assert client.session.principal.credential == "token:second"
    await client.hold()


async def test_a_request_with_the_old_header_does_not_bring_the_old_one_back(bayeux: Bayeux, known: Known) -> None:
    first, second = known.add("first"), known.add("second")
    client = await of(bayeux, known, peer=Peer(principal=first, presented=True))
    for shown in (second, first, second, first):
        client.peer = Peer(principal=shown, presented=True)
        (reply,) = await client.post(client.message("/free/x", data=1))
        assert reply["successful"]
    assert client.session.principal.credential == "token:second"
    assert bayeux.hub.counters.renewed == 1


async def test_subscriptions_that_the_newer_one_does_not_cover_end_and_the_client_is_told(bayeux: Bayeux, known: Known) -> None:
    client = await of(bayeux, known)
    await client.subscribed(["/free/x", "/more/x"])
    known.add("second", roles=frozenset({"/free"}))
    told, reply = await client.post({**client.connect(timeout=0), **showing("second")})
    assert told == {
        "channel": "/meta/unsubscribe",
        "successful": True,
        "subscription": ["/more/x"],
        "ext": {"reason": "403:denied:subscribe_denied"},
    }
    assert reply["successful"]
    await bayeux.emit("/more/x")
    await bayeux.emit("/free/x")
    assert [message["channel"] for message in await client.post(client.connect(timeout=0))] == ["/free/x", "/meta/connect"]


async def test_over_a_websocket_they_are_told_at_once(bayeux: Bayeux, known: Known) -> None:
    known.add("first")
    client = bayeux.socket()
    client._message = by_token("first")
    await client.open()
    await client.subscribed(["/free/x", "/more/x"])
    known.add("second", roles=frozenset({"/free"}))
    messages = await client.send({**client.message("/free/y", data=1), **showing("second")})
    assert [(message["channel"], message.get("subscription")) for message in messages] == [
        ("/meta/unsubscribe", ["/more/x"]),
        ("/free/y", None),
    ]


async def test_a_websocket_goes_on_with_the_newer_one(bayeux: Bayeux, known: Known) -> None:
    """Also its opening handshake counts as made with it: else the socket would close with the end of the first."""
    first, second = known.add("first"), known.add("second")
    client = bayeux.socket(principal=first, presented=True)
    client._message = handshake()
    await client.open()
    await client.send({**client.message("/free/y", data=1), **showing("second")})
    for gone in (first, second):
        for _ in bayeux.server.revoke(lambda who, gone=gone: who.credential == gone.credential):  # type: ignore[misc]
            pass
        assert (client.id in bayeux.server.sessions) is (gone is first)
        assert client.wire.closed == (None if gone is first else 4401)


async def test_a_new_socket_with_a_newer_header_renews_once(bayeux: Bayeux, known: Known) -> None:
    first = known.add("first")
    client = bayeux.socket(principal=first, presented=True)
    client._message = handshake()
    await client.open()
    again = bayeux.socket(principal=known.add("second"), presented=True)
    again.id = client.id
    await again.send(again.message("/free/y", data=1))
    assert again.session.principal.credential == "token:second"
    known.add("third")
    await again.send({**again.message("/free/y", data=1), **showing("third")})
    await again.send(again.message("/free/y", data=1))
    assert again.session.principal.credential == "token:third"


async def test_an_anonymous_session_takes_none(bayeux: Bayeux, known: Known) -> None:
    known.open = True
    known.add("first")
    client = await bayeux.client(message=handshake())
    (reply,) = await client.post({**client.connect(timeout=0), **showing("first")})
    assert reply["successful"], "clients that show it with every message go on as before"
    assert client.session.principal.anonymous


async def test_the_held_connect_is_answered_before_the_end(bayeux: Bayeux, known: Known) -> None:
    client = await of(bayeux, known, ends_in_s=70)
    held = await client.hold()
    bayeux.pass_time(9)
    assert not held.done
    bayeux.pass_time(2)
    (reply,) = held.response()
    assert reply["ext"] == {"authentication": {"expiresIn": 59}}
    assert reply["advice"] == RETRY
    held = await client.hold()  # the client knows: it is held as usual, and told again with each reply
    bayeux.pass_time(20.1)
    (reply,) = held.response()
    assert reply["ext"] == {"authentication": {"expiresIn": 38}}


async def test_without_a_held_connect_the_next_one_tells_it(bayeux: Bayeux, known: Known) -> None:
    client = await of(bayeux, known, ends_in_s=70)
    bayeux.pass_time(9)
    await client.post(client.message("/free/y", data=1))
    bayeux.pass_time(2)
    (reply,) = await client.post(client.connect())
    assert reply["ext"] == {"authentication": {"expiresIn": 59}}


async def test_after_a_newer_one_replies_tell_nothing_more(bayeux: Bayeux, known: Known) -> None:
    client = await of(bayeux, known, ends_in_s=70)
    bayeux.pass_time(9)
    await client.post(client.message("/free/y", data=1))
    bayeux.pass_time(2)
    known.add("second", ends_ms=ends(bayeux, 7200))
    replies: list[Any] = []
    for message in ({**client.connect(), **showing("second")}, client.connect(timeout=0)):
        replies += await client.post(message)
    assert [reply.get("ext") for reply in replies] == [{"authentication": {"expiresIn": 7200}}, None]


async def test_a_socket_that_leads_elsewhere_stays_as_long_as_the_other_process_says(bayeux: Bayeux, known: Known) -> None:
    first = known.add("first")
    client = bayeux.socket(principal=first, presented=True)
    client.connection.lead_elsewhere()
    client.connection.revoke(lambda who: who.credential == first.credential)
    assert client.wire.closed is None
    (reply,) = await client.send(handshake())  # but its own credential opens nothing here
    assert reply["error"] == "403::handshake_denied"
    client.connection.lead_nowhere()
    assert client.wire.closed == 4401


async def test_when_nobody_knows_who_is_good_clients_are_sent_to_shake_hands_again(bayeux: Bayeux, known: Known) -> None:
    first = known.add("first")
    polling = await bayeux.client(message=handshake(), peer=Peer(principal=first, presented=True))
    held = await polling.hold()
    socket, other = (bayeux.socket(principal=known.add(token), presented=True) for token in ("first", "second"))
    socket._message = other._message = handshake()
    await socket.open()
    await other.open()
    await end_unverified(bayeux.hub, lambda who: who.credential == first.credential)
    for _ in bayeux.server.give_up(lambda who: who.credential == first.credential):
        pass
    (reply,) = held.response()
    assert (reply["error"], reply["advice"]["reconnect"], reply["advice"]["interval"]) == ("402::session_unknown", "handshake", 5000)
    assert (socket.wire.closed, other.wire.closed) == (1013, None)
    assert list(bayeux.server.sessions) == [other.id]


async def test_a_held_connect_tells_the_new_end_at_once(bayeux: Bayeux, known: Known) -> None:
    client = await of(bayeux, known)
    held = await client.hold()
    known.add("second", ends_ms=ends(bayeux, 7200))
    await client.post({**client.message("/free/y", data=1), **showing("second")})
    (reply,) = held.response()
    assert (reply["successful"], reply["ext"]) == (True, {"authentication": {"expiresIn": 7200}})


async def test_a_goodbye_with_a_bad_one_is_heard(bayeux: Bayeux, known: Known) -> None:
    client = await of(bayeux, known)
    (reply,) = await client.post({**client.message("/meta/disconnect"), **showing("unknown")})
    assert reply["successful"]
    assert client.id not in bayeux.server.sessions


async def test_a_credential_that_ends_while_its_handshake_waits_opens_no_session(bayeux: Bayeux, known: Known) -> None:
    """The caller of a header is known before the handshake waits for its turn; who is told of an end knows no session of it yet."""
    peer = Peer(principal=known.add("first"), presented=True)
    known.ended.add("token:first")
    (reply,) = await bayeux.post(handshake(), peer=peer)
    assert (reply["successful"], reply["error"]) == (False, "403::handshake_denied")
    assert reply["advice"]["reconnect"] == "none"
