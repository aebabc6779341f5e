import pytest

from hub.core.principal import Principal
from hub.security import tickets
from hub.security.tickets import Tickets
from tests.hub.security.conftest import FakeClock

ANA = Principal("acme", "ana", frozenset(), "l", "l", credential="token:1")


def test_a_ticket_is_good_once(clock: FakeClock) -> None:
    made = Tickets(clock)
    ticket = made.issue(ANA)
    assert ticket is not None
    assert made.redeem(ticket) is ANA
    assert made.redeem(ticket) is None


def test_a_ticket_is_good_for_30_seconds(clock: FakeClock) -> None:
    made = Tickets(clock)
    early, late = made.issue(ANA), made.issue(ANA)
    assert early is not None
    assert late is not None
    clock.advance(29.9)
    assert made.redeem(early) is ANA
    clock.advance(0.1)
    assert made.redeem(late) is None
    assert len(made) == 0


@pytest.mark.parametrize("ticket", ["", "nope", "é\x00"])
def test_an_unknown_ticket_is_nobodys(clock: FakeClock, ticket: str) -> None:
    assert Tickets(clock).redeem(ticket) is None


def test_tickets_are_bounded_until_some_run_out(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tickets, "MOST_TICKETS", 2)
    made = Tickets(clock)
    assert [made.issue(ANA) is None for _ in range(3)] == [False, False, True]
    clock.advance(30)
    assert made.issue(ANA) is not None


def test_tickets_go_with_their_credential(clock: FakeClock) -> None:
    made = Tickets(clock)
    ticket = made.issue(ANA)
    assert ticket is not None
    made.revoke(lambda principal: principal.credential == "token:2")
    assert len(made) == 1
    made.revoke(lambda principal: principal.credential == "token:1")
    assert made.redeem(ticket) is None
