import pytest

from hub.core.limits import Limits
from hub.core.principal import Principal
from hub.security.tickets import Tickets
from tests.world import ManualClock

URL = ("/events", b"channel=/a&ticket=t")
ANA = Principal("acme", "ana", frozenset(), "l", "l", credential="token:1")


def subject(tickets: Tickets, ticket: str) -> Principal | None:
    found = tickets.redeem(ticket, URL)
    return None if found is None else found.principal


class Stream:
    """A stream that a ticket has opened."""

    def __init__(self, tickets: Tickets, ticket: str) -> None:
        self._tickets = tickets
        self.opened = tickets.redeem(ticket, URL)
        assert self.opened is not None
        self.gave_way = False
        tickets.opened(self.opened, self.give_way)

    def give_way(self) -> None:
        self.gave_way = True

    def admitted(self) -> None:
        """Nothing is bounded here."""

    def close(self) -> None:
        assert self.opened is not None
        self._tickets.closed(self.opened)


def issued(tickets: Tickets) -> str:
    ticket = tickets.issue(ANA)
    assert ticket is not None
    return ticket


def test_a_stream_that_has_ended_is_opened_again_for_a_minute(clock: ManualClock) -> None:
    made = Tickets(clock)
    ticket = issued(made)
    for _ in range(3):
        stream = Stream(made, ticket)
        clock.advance(1000)
        stream.close()
        clock.advance(59)
    clock.advance(1)
    assert made.redeem(ticket, URL) is None
    assert made.resumed == 2


def test_the_time_is_a_setting_and_0_opens_nothing_again(clock: ManualClock) -> None:
    made = Tickets(clock, Limits(ticket_resume_s=0))
    ticket = issued(made)
    Stream(made, ticket).close()
    assert made.redeem(ticket, URL) is None


@pytest.mark.parametrize("url", [("/ws", URL[1]), ("/events", b"channel=/b&ticket=t"), ("/events", b"")])
def test_only_the_same_stream_is_opened_again(clock: ManualClock, url: tuple[str, bytes]) -> None:
    made = Tickets(clock)
    ticket = issued(made)
    stream = Stream(made, ticket)
    assert made.redeem(ticket, url) is None
    stream.close()
    assert made.redeem(ticket, url) is None
    assert subject(made, ticket) is ANA


def test_a_new_stream_takes_the_old_ones_place(clock: ManualClock) -> None:
    made = Tickets(clock)
    ticket = issued(made)
    old = Stream(made, ticket)
    new = Stream(made, ticket)
    assert (old.gave_way, new.gave_way) == (True, False)
    old.close()  # it hears of its end late: the new one stays
    newest = Stream(made, ticket)
    assert new.gave_way
    new.close()
    newest.close()
    assert subject(made, ticket) is ANA


def test_no_stream_is_opened_again_after_12_hours(clock: ManualClock) -> None:
    made = Tickets(clock)
    ticket = issued(made)
    stream = Stream(made, ticket)
    clock.advance(12 * 3600 - 1)
    assert subject(made, ticket) is ANA
    clock.advance(1)
    assert made.redeem(ticket, URL) is None
    stream.close()
    assert made.redeem(ticket, URL) is None


def test_a_ticket_whose_stream_was_refused_opens_nothing_again(clock: ManualClock) -> None:
    made = Tickets(clock)
    ticket = issued(made)
    assert subject(made, ticket) is ANA
    assert made.redeem(ticket, URL) is None


@pytest.mark.parametrize("ended", [True, False])
async def test_streams_are_not_opened_again_when_the_credential_is_gone(clock: ManualClock, ended: bool) -> None:
    made = Tickets(clock)
    ticket = issued(made)
    stream = Stream(made, ticket)
    if ended:
        stream.close()
    await made.revoke(lambda principal: principal.credential == "token:1")
    assert made.redeem(ticket, URL) is None
    stream.close()
    assert made.redeem(ticket, URL) is None


def test_of_streams_that_ended_the_newest_are_remembered(clock: ManualClock) -> None:
    made = Tickets(clock, Limits(max_tickets=2, tenant_share_percent=100))
    ended = []
    for _ in range(3):
        ended.append(issued(made))
        Stream(made, ended[-1]).close()
    assert (made.resumable, made.forgotten) == (2, 1)
    assert [subject(made, ticket) is ANA for ticket in ended] == [False, True, True]


BOB = Principal("other", "bob", frozenset(), "m", "m", credential="token:2")


def test_streams_of_one_tenant_do_not_take_the_place_of_anothers(clock: ManualClock) -> None:
    made = Tickets(clock, Limits(max_tickets=4))
    other = made.issue(BOB)
    assert other is not None
    Stream(made, other).close()
    ended = []
    for _ in range(5):
        ended.append(issued(made))
        Stream(made, ended[-1]).close()
    assert (made.resumable, made.forgotten) == (3, 3)
    assert [made.look(ticket, URL) is None for ticket in ended] == [True, True, True, False, False]
    assert subject(made, other) is BOB
    clock.advance(60)
    assert made.issue(BOB) is not None
    assert made.resumable == 0


async def test_tickets_that_wait_have_a_tenants_share(clock: ManualClock) -> None:
    made = Tickets(clock, Limits(max_tickets=4))
    assert [made.issue(ANA) is None for _ in range(3)] == [False, False, True]
    assert [made.issue(BOB) is None for _ in range(3)] == [False, False, True]
    assert made.refused == 2
    await made.revoke(lambda principal: principal.credential == "token:1")
    assert [made.issue(ANA) is None for _ in range(3)] == [False, False, True]


def test_a_ticket_is_good_once(clock: ManualClock) -> None:
    made = Tickets(clock)
    ticket = made.issue(ANA)
    assert ticket is not None
    assert subject(made, ticket) is ANA
    assert made.redeem(ticket) is None


def test_a_ticket_is_good_for_30_seconds(clock: ManualClock) -> None:
    made = Tickets(clock)
    early, late = made.issue(ANA), made.issue(ANA)
    assert early is not None
    assert late is not None
    clock.advance(29.9)
    assert subject(made, early) is ANA
    clock.advance(0.1)
    assert made.redeem(late) is None
    assert len(made) == 0


@pytest.mark.parametrize("ticket", ["", "nope", "é\x00"])
def test_an_unknown_ticket_is_nobodys(clock: ManualClock, ticket: str) -> None:
    assert Tickets(clock).redeem(ticket) is None


def test_tickets_are_bounded_until_some_run_out(clock: ManualClock) -> None:
    made = Tickets(clock, Limits(max_tickets=2, tenant_share_percent=100))
    assert [made.issue(ANA) is None for _ in range(3)] == [False, False, True]
    clock.advance(30)
    assert made.issue(ANA) is not None


async def test_tickets_go_with_their_credential(clock: ManualClock) -> None:
    made = Tickets(clock)
    ticket = made.issue(ANA)
    assert ticket is not None
    await made.revoke(lambda principal: principal.credential == "token:2")
    assert len(made) == 1
    await made.revoke(lambda principal: principal.credential == "token:1")
    assert made.redeem(ticket) is None
