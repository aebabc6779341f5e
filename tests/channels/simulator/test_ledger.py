from channels.simulator.ledger import Ledger, seconds_between
from channels.simulator.status import Status


def test_moments_are_cut_to_seconds_before_they_are_subtracted() -> None:
    assert seconds_between(56_949, 67_542) == 11
    assert seconds_between(1_000, 1_999) == 0
    assert seconds_between(1_999, 2_000) == 1


def test_time_in_a_status_counts_up_to_now() -> None:
    ledger = Ledger(["ana"], ["billing"], 0)
    ledger.status("ana", Status.NOT_READY, 10_000)
    ledger.status("ana", Status.READY, 15_000)
    ledger.status("ana", Status.TALK, 40_000)
    figures = ledger.agents["ana"].figures(47_500)
    assert (figures["LoginDuration"], figures["NotReadyDuration"], figures["ReadyDuration"], figures["TalkDuration"]) == (37, 5, 25, 7)
    assert ledger.agents["ana"].figures(50_000)["TalkDuration"] == 10


def test_handling_is_calls_and_wraps_over_calls() -> None:
    ledger = Ledger(["ana"], ["billing"], 0)
    assert ledger.agents["ana"].figures(0)["AverageHandlingTime"] == 0
    ledger.call_ended("ana", "inbound", 0, 60_000)
    ledger.call_ended("ana", "consult", 10_000, 20_000)
    ledger.agents["ana"].wraps_s = 20
    assert ledger.agents["ana"].figures(0)["AverageHandlingTime"] == 80, "a consultation is no call of its own"
    assert ledger.agents["ana"].figures(0)["InboundCalls"] == ledger.agents["ana"].figures(0)["ConsultCalls"] == 1


def test_service_level_is_what_was_answered_in_less_than_20_seconds_of_what_was_answered_or_lost() -> None:
    ledger = Ledger(["ana"], ["billing"], 0)
    ledger.queues["billing"].abandoned = 1
    ledger.queues["billing"].abandoned_s = 41
    ledger.answered("billing", 500, 20_499)
    ledger.answered("billing", 500, 19_999)
    ledger.answered("billing", 999, 20_000)
    figures = ledger.queues["billing"].figures()
    assert figures["ServiceLevel"] == 25
    assert figures["TotalAnswered"] == 3
    assert figures["AverageWaitingTime"] == (20 + 19 + 20 + 41) / 4


def test_as_json_has_every_object() -> None:
    ledger = Ledger(["ana"], ["billing"], 0)
    json = ledger.as_json(0)
    assert set(json["agents"]) == {"ana"}
    assert set(json["queues"]) == {"billing"}
