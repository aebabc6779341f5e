"""Pages of transcripts: each way through, and that they stand whatever is added meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from tests.channels.files.participants.support import Chatter, Talk


async def told(talk: Talk, count: int = 9) -> Chatter:
    """A chat of ``count`` messages, one a second; the first item is that somebody has joined."""
    ana = await talk.chatter()
    for number in range(1, count + 1):
        talk.world.clock.advance(1)
        await ana.say(str(number))
    return ana


def texts(items: list[Any]) -> list[str]:
    return [each.get("Content", "joined") for each in items]


async def pages(talk: Talk, ana: Chatter, **query: Any) -> list[list[str]]:
    """All pages of a query."""
    found: list[list[str]] = []
    page = await ana.get("transcript", **query)
    while True:
        found.append(texts(page["Transcript"]))
        if "NextToken" not in page:
            return found
        talk.world.clock.advance(1)  # a participant may not call as often as it likes
        page = await ana.get("transcript", **{**query, "NextToken": page["NextToken"]})


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [["9", "8", "7", "6", "5", "4", "3", "2", "1", "joined"]]),
        ({"MaxResults": 4}, [["9", "8", "7", "6"], ["5", "4", "3", "2"], ["1", "joined"]]),
        ({"MaxResults": 5}, [["9", "8", "7", "6", "5"], ["4", "3", "2", "1", "joined"]]),
        ({"MaxResults": 4, "SortOrder": "ASCENDING"}, [["6", "7", "8", "9"], ["2", "3", "4", "5"], ["joined", "1"]]),
        (
            {"MaxResults": 4, "ScanDirection": "FORWARD", "SortOrder": "ASCENDING"},
            [["joined", "1", "2", "3"], ["4", "5", "6", "7"], ["8", "9"]],
        ),
        ({"MaxResults": 6, "ScanDirection": "FORWARD"}, [["5", "4", "3", "2", "1", "joined"], ["9", "8", "7", "6"]]),
        ({"MaxResults": 2, "StartPosition": {"MostRecent": 3}, "SortOrder": "ASCENDING"}, [["7", "8"], ["9"]]),
        ({"StartPosition": {"MostRecent": 0}}, [["9"]]),
        ({"StartPosition": {"MostRecent": 100}, "MaxResults": 100, "SortOrder": "ASCENDING"}, [["joined", *"123456789"]]),
        ({"StartPosition": {"MostRecent": 8}, "ScanDirection": "BACKWARD"}, [["2", "1", "joined"]]),
    ],
    ids=str,
)
async def test_ways_through(lightly: Talk, query: dict[str, Any], expected: list[list[str]]) -> None:
    assert await pages(lightly, await told(lightly), **query) == expected


async def test_from_an_item_and_from_a_time(talk: Talk) -> None:
    ana = await told(talk)
    seventh = next(each for each in await ana.items() if each.get("Content") == "7")
    for start in ({"Id": seventh["Id"]}, {"AbsoluteTime": seventh["AbsoluteTime"]}):
        ahead = {"StartPosition": start, "SortOrder": "ASCENDING"}
        assert await pages(talk, ana, **ahead) == [["7", "8", "9"]]
        assert await pages(talk, ana, **ahead, ScanDirection="BACKWARD", MaxResults=2) == [
            ["6", "7"],
            ["4", "5"],
            ["2", "3"],
            ["joined", "1"],
        ]
    future = {"AbsoluteTime": "2100-01-01T00:00:00Z"}
    past = {"AbsoluteTime": "2000-01-01T00:00:00Z"}
    assert await pages(talk, ana, StartPosition=future) == [[]]
    assert await pages(talk, ana, StartPosition=past, ScanDirection="BACKWARD") == [[]]
    assert await pages(talk, ana, StartPosition=future, ScanDirection="BACKWARD", MaxResults=9) == [list("987654321"), ["joined"]]
    assert len(await pages(talk, ana, StartPosition=past, MaxResults=1)) == 10


async def test_pages_stand_whatever_is_added(talk: Talk) -> None:
    ana = await told(talk)
    back = await ana.get("transcript", MaxResults=4)
    on = await ana.get("transcript", MaxResults=4, ScanDirection="FORWARD", SortOrder="ASCENDING")
    for number in range(10, 13):
        await ana.say(str(number))
    assert texts((await ana.get("transcript", MaxResults=4, NextToken=back["NextToken"]))["Transcript"]) == ["5", "4", "3", "2"]
    rest: list[str] = []
    token = on["NextToken"]
    while token is not None:
        page = await ana.get("transcript", MaxResults=4, NextToken=token, SortOrder="ASCENDING")
        rest += texts(page["Transcript"])
        token = page.get("NextToken")
    assert rest == [str(number) for number in range(4, 13)]


async def test_times_do_not_go_back(lightly: Talk) -> None:
    ana = await lightly.chatter()
    await ana.say("1")
    lightly.world.clock.wall = lightly.world.clock.wall_ms() - 3_600_000
    await ana.say("2")
    times = [each["AbsoluteTime"] for each in await ana.items()]
    assert times == sorted(times)


async def test_the_transcript_by_rest(talk: Talk) -> None:
    ana = await told(talk, 5)
    path = f"/api/v1/interactions/{ana.contact}/transcript"
    first = (await talk.rest("GET", path, caller="reader", params={"limit": 4})).json()["data"]
    assert texts(first["items"]) == ["joined", "1", "2", "3"]
    second = (await talk.rest("GET", path, caller="reader", params={"limit": 4, "cursor": first["cursor"]})).json()["data"]
    assert texts(second["items"]) == ["4", "5"]
    assert "cursor" not in second
    assert (await talk.rest("GET", path, caller="foreign")).status_code == 404
    assert (await talk.rest("GET", path, caller="agent")).status_code == 403
    assert (await talk.rest("GET", path, caller="reader", params={"cursor": "x"})).status_code == 400
