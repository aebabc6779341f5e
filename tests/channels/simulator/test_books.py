from channels.simulator.books import Books, seconds_between
from channels.simulator.status import Status


def test_moments_are_cut_to_seconds_before_they_are_subtracted() -> None:
    assert seconds_between(56_949, 67_542) == 11
    assert seconds_between(1_000, 1_999) == 0
    assert seconds_between(1_999, 2_000) == 1


def test_time_in_a_status_counts_up_to_now() -> None:
    books = Books(["ana"], ["billing"], 0)
    books.status("ana", Status.NOT_READY, 10_000)
    books.status("ana", Status.READY, 15_000)
    books.status("ana", Status.TALK, 40_000)
    figures = books.agents["ana"].figures(47_500)
    assert (figures["LoginDuration"], figures["NotReadyDuration"], figures["ReadyDuration"], figures["TalkDuration"]) == (37, 5, 25, 7)
    assert books.agents["ana"].figures(50_000)["TalkDuration"] == 10


def test_handling_is_calls_and_wraps_over_calls() -> None:
    books = Books(["ana"], ["billing"], 0)
    assert books.agents["ana"].figures(0)["AverageHandlingTime"] == 0
    books.call_ended("ana", "inbound", 0, 60_000)
    books.call_ended("ana", "consult", 10_000, 20_000)
    books.agents["ana"].wraps_s = 20
    assert books.agents["ana"].figures(0)["AverageHandlingTime"] == 80, "a consultation is no call of its own"
    assert books.agents["ana"].figures(0)["InboundCalls"] == books.agents["ana"].figures(0)["ConsultCalls"] == 1


def test_service_level_is_what_was_answered_in_less_than_20_seconds_of_what_was_answered_or_lost() -> None:
    books = Books(["ana"], ["billing"], 0)
    books.queues["billing"].abandoned = 1
    books.queues["billing"].abandoned_s = 41
    books.answered("billing", 500, 20_499)
    books.answered("billing", 500, 19_999)
    books.answered("billing", 999, 20_000)
    figures = books.queues["billing"].figures()
    assert figures["ServiceLevel"] == 25
    assert figures["TotalAnswered"] == 3
    assert figures["AverageWaitingTime"] == (20 + 19 + 20 + 41) / 4


def test_as_json_has_every_object() -> None:
    books = Books(["ana"], ["billing"], 0)
    json = books.as_json(0)
    assert set(json["agents"]) == {"ana"}
    assert set(json["queues"]) == {"billing"}
