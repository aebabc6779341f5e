"""A newer credential on a live session, and the notice before the end of the present one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from hub.core.decision import Decision
from hub.core.delivery import ChannelDeclaration, DeliveryClass
from hub.core.errors import RefusedError, WireError
from hub.core.hub import Hub
from hub.core.limits import Limits
from hub.core.principal import Action, Principal
from hub.core.renewal import MAX_REPLACED
from hub.eventlog.channel_log_memory import MemoryChannelLog
from tests.hub.core.harness import Recorder, World
from tests.hub.dashboard.harness import GatedBus
from tests.world import ManualClock, decided


class Told(Recorder):
    """A session that keeps what it is told about its credential."""

    __slots__ = ("expiring", "unsubscribed")

    def __init__(self, hub: Hub, who: Principal) -> None:
        super().__init__(hub, "s", who)
        self.expiring: list[int] = []
        self.unsubscribed: list[str] = []

    def tell_expiring(self, seconds: int) -> None:
        self.expiring.append(seconds)

    def tell_unsubscribed(self, patterns: Sequence[str]) -> None:
        self.unsubscribed += patterns


class Roles:
    """A role is what it may hear: the beginning of a channel, or an operation."""

    def __init__(self) -> None:
        self.before: Any = None
        self.fault: Exception | None = None

    async def decide(self, who: Principal, action: Action, resource: str) -> Decision:
        if self.before is not None:
            before, self.before = self.before, None
            await before()
        if self.fault is not None:
            raise self.fault
        return decided(any(resource.startswith(role) for role in who.roles))


def token(number: int, *roles: str, subject: str = "ann", tenant: str = "t", ends_ms: int | None = None) -> Principal:
    own = frozenset(roles)
    return Principal(tenant, subject, own, f"l{number}", f"token-{number}", credential=f"token:{number}", expires_ms=ends_ms)


def in_s(made: World, seconds: float) -> int:
    return made.clock.wall_ms() + round(seconds * 1000)


async def _present(tenant: str, audience: str, pattern: str) -> Sequence[tuple[str, bytes]]:
    return [("/nexus/a", b"present")]


def world(notice_s: int = 60) -> tuple[World, Roles]:
    declared = ChannelDeclaration("/nexus/**", DeliveryClass.STATE, "values", operation="/read", snapshot=_present)
    clock = ManualClock()
    log = MemoryChannelLog(clock)
    made = World([declared], limits=Limits(token_expiry_notice_s=notice_s), clock=clock, log=log, bus=GatedBus(log))
    roles = Roles()
    made.hub.subscriptions._authorizer = roles
    return made, roles


def session(made: World, who: Principal) -> Told:
    told = Told(made.hub, who)
    made.hub.sessions.attach(told)
    return told


async def test_a_newer_credential_takes_the_place_of_the_old_one_and_the_login_stays() -> None:
    made, _ = world()
    ann = session(made, token(1, "/free"))
    await made.hub.renewals.renew(ann, token(2, "/free"))
    assert (ann.principal.credential, ann.principal.login, ann.principal.token_login) == ("token:2", "l1", "token-1")
    assert ann.principal.renewed_login == "token-2"
    assert made.hub.counters.renewed == 1


async def test_one_that_was_replaced_does_not_come_back() -> None:
    made, _ = world()
    ann = session(made, token(1))
    for number in (2, 1, 3, 2, 1, 3):
        await made.hub.renewals.renew(ann, token(number))
    assert ann.principal.credential == "token:3"
    assert made.hub.counters.renewed == 2


async def test_the_memory_of_replaced_ones_is_bounded() -> None:
    made, _ = world()
    ann = session(made, token(0))
    for number in range(1, 100):
        await made.hub.renewals.renew(ann, token(number))
    assert len(ann.replaced) == MAX_REPLACED
    assert ann.principal.credential == "token:99"


@pytest.mark.parametrize("other", [token(2, subject="bob"), token(2, tenant="other")], ids=["subject", "tenant"])
async def test_that_of_another_caller_is_refused(other: Principal) -> None:
    made, _ = world()
    ann = session(made, token(1))
    with pytest.raises(RefusedError) as refused:
        await made.hub.renewals.renew(ann, other)
    assert refused.value.error is WireError.CREDENTIAL_DENIED
    assert ann.principal.credential == "token:1"
    assert (made.hub.counters.renewed, made.hub.counters.renewals_refused) == (0, 1)


async def test_an_anonymous_session_takes_none() -> None:
    made, _ = world()
    nobody = session(made, replace(token(1), anonymous=True))
    with pytest.raises(RefusedError):
        await made.hub.renewals.renew(nobody, token(2))


async def test_subscriptions_that_it_does_not_cover_end() -> None:
    made, _ = world()
    ann = session(made, token(1, "/a", "/b"))
    await made.hub.subscriptions.subscribe(ann, ["/a/x", "/b/x", "/b/**"])
    await made.hub.renewals.renew(ann, token(2, "/a"))
    assert list(ann.subscriptions) == ["/a/x"]
    assert sorted(ann.unsubscribed) == ["/b/**", "/b/x"]
    for channel in ("/a/x", "/b/x"):
        await made.hub.publisher.emit("t", channel, b"1")
    made.loop.tick()
    assert [message.channel for message in ann.received] == ["/a/x"]


async def test_the_same_roles_ask_nothing() -> None:
    made, roles = world()
    ann = session(made, token(1, "/a"))
    await made.hub.subscriptions.subscribe(ann, ["/a/x"])
    roles.fault = RefusedError(WireError.UNAVAILABLE)
    await made.hub.renewals.renew(ann, token(2, "/a"))
    assert list(ann.subscriptions) == ["/a/x"]


async def test_what_cannot_be_decided_ends() -> None:
    made, roles = world()
    ann = session(made, token(1, "/a", "/b"))
    await made.hub.subscriptions.subscribe(ann, ["/a/x"])
    roles.fault = RefusedError(WireError.UNAVAILABLE)
    await made.hub.renewals.renew(ann, token(2, "/a"))
    assert ann.unsubscribed == ["/a/x"]


async def test_a_wildcard_is_narrowed_and_widened() -> None:
    made, _ = world()
    ann = session(made, token(1, "/nexus", "/read", "/**"))
    await made.hub.subscriptions.subscribe(ann, ["/**"])

    async def heard() -> list[str]:
        ann.received.clear()
        for channel in ("/nexus/a", "/free"):
            await made.hub.publisher.emit("t", channel, b"1")
        await made.loop.run()
        return [message.channel for message in ann.received]

    assert await heard() == ["/nexus/a", "/free"]
    await made.hub.renewals.renew(ann, token(2, "/nexus", "/**"))
    assert await heard() == ["/free"]
    assert ann.unsubscribed == []
    await made.hub.renewals.renew(ann, token(3, "/nexus", "/read", "/**"))
    await made.loop.run()
    assert ann.received[-1].data == b"present"
    assert await heard() == ["/nexus/a", "/free"]
    made.hub.sessions.detach(ann)
    assert len(made.hub.router) == 0


async def test_what_is_for_a_subject_is_narrowed_too() -> None:
    made, _ = world()
    ann = session(made, token(1, "/nexus", "/read", "/**"))
    await made.hub.subscriptions.subscribe(ann, ["/**"])
    made.hub.subjects.hear("t", "ann")
    await made.hub.renewals.renew(ann, token(2, "/nexus", "/**"))
    made.hub.sessions.detach(ann)
    assert len(made.hub.router) == 0


async def test_a_still_newer_one_decides_while_the_subscriptions_are_looked_at() -> None:
    made, roles = world()
    ann = session(made, token(1, "/a", "/b", "/c"))
    await made.hub.subscriptions.subscribe(ann, ["/a/x", "/b/x", "/c/x"])

    async def newer() -> None:
        await made.hub.renewals.renew(ann, token(3, "/a"))

    roles.before = newer
    await made.hub.renewals.renew(ann, token(2, "/a", "/b"))
    assert ann.principal.credential == "token:3"
    assert list(ann.subscriptions) == ["/a/x"]
    assert sorted(ann.unsubscribed) == ["/b/x", "/c/x"]


async def test_a_subscribe_under_way_is_held_against_the_newer_one() -> None:
    made, _ = world()
    ann = session(made, token(1, "/a"))
    assert isinstance(made.bus, GatedBus)
    made.bus.before_confirm = lambda: made.hub.renewals.renew(ann, token(2, "/b"))
    with pytest.raises(RefusedError) as refused:
        await made.hub.subscriptions.subscribe(ann, ["/a/x"])
    assert refused.value.error is WireError.SUBSCRIBE_DENIED
    assert ann.subscriptions == {}
    assert made.hub.subscriptions.interest.topics == {}


async def test_a_session_is_told_before_its_credential_ends() -> None:
    made, _ = world()
    ann = session(made, token(1, ends_ms=in_s(made, 100)))
    made.pass_time(39)
    assert ann.expiring == []
    made.pass_time(2)
    assert ann.expiring == [59]
    made.pass_time(100)
    assert ann.expiring == [59]


async def test_a_newer_one_that_ends_later_puts_the_notice_off_and_an_earlier_one_brings_it_forward() -> None:
    made, _ = world()
    ann = session(made, token(1, ends_ms=in_s(made, 100)))
    await made.hub.renewals.renew(ann, token(2, ends_ms=in_s(made, 1000)))
    made.pass_time(900)
    assert ann.expiring == []
    await made.hub.renewals.renew(ann, token(3, ends_ms=in_s(made, 70)))
    made.pass_time(11)
    assert ann.expiring == [59]
    await made.hub.renewals.renew(ann, token(4))
    made.pass_time(1000)
    assert ann.expiring == [59]


async def test_no_notice_to_a_session_that_has_ended_and_none_where_it_is_turned_off() -> None:
    made, _ = world()
    ann = session(made, token(1, ends_ms=in_s(made, 100)))
    made.hub.sessions.detach(ann)
    made.pass_time(200)
    assert ann.expiring == []
    assert len(made.hub.timers) == 0
    quiet, _ = world(notice_s=0)
    bob = session(quiet, token(1, ends_ms=in_s(quiet, 100)))
    quiet.pass_time(99)
    assert bob.expiring == []
