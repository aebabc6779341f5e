"""Parts of files, and conditions of requests by links (RFC 9110 sections 13 and 14)."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from hub.objects.conditions import fails
from hub.objects.links import Disposition
from hub.objects.transfer import Download
from tests.hub.objects.test_link_endpoint import CONTENT, NOW, World, code, settings, world

__all__ = ["settings", "world"]


@pytest.mark.parametrize(
    ("asked", "status", "part", "shown"),
    [
        ("bytes=0-0", 206, slice(0, 1), "bytes 0-0/300000"),
        ("bytes=100-199", 206, slice(100, 200), "bytes 100-199/300000"),
        ("bytes=299999-", 206, slice(299999, None), "bytes 299999-299999/300000"),
        ("bytes=-5", 206, slice(-5, None), "bytes 299995-299999/300000"),
        ("bytes=-999999", 206, slice(None), "bytes 0-299999/300000"),
        ("bytes=10-999999999", 206, slice(10, None), "bytes 10-299999/300000"),
        ("Bytes=0-0", 206, slice(0, 1), "bytes 0-0/300000"),
        ("bytes=5-4", 200, slice(None), None),
        ("bytes=0-1,3-4", 200, slice(None), None),
        ("lines=0-1", 200, slice(None), None),
        ("bytes=-", 200, slice(None), None),
        ("bytes=x-1", 200, slice(None), None),
        ("bytes=1-" + "9" * 30, 200, slice(None), None),
        ("bytes=300000-", 416, slice(0), "bytes */300000"),
        ("bytes=-0", 416, slice(0), "bytes */300000"),
    ],
)
async def test_a_part_is_downloaded(world: World, asked: str, status: int, part: slice, shown: str | None) -> None:
    await world.put(world.upload())
    got = await world.client.get(world.download(), headers={"Range": asked})
    assert (got.status_code, got.headers.get("content-range")) == (status, shown)
    if status != 416:
        assert got.content == CONTENT[part]


async def test_a_part_of_another_version_is_not_given(world: World) -> None:
    etag = (await world.put(world.upload())).headers["etag"]
    for condition, status in ((etag, 206), ('"other"', 200), (f"W/{etag}", 200)):
        got = await world.client.get(world.download(), headers={"Range": "bytes=0-9", "If-Range": condition})
        assert got.status_code == status
    for known in (etag, f'"x", {etag}', f"W/{etag}", "*"):
        same = await world.client.get(world.download(), headers={"If-None-Match": known})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    twice = await world.client.get(world.download(), headers=[("If-None-Match", '"x"'), ("If-None-Match", etag)])
    assert twice.status_code == 304
    other = await world.client.get(world.download(), headers={"If-None-Match": f'"x", W/"y", {etag[1:-1]}'})
    assert other.status_code == 200


async def test_a_head_has_the_headers_alone(world: World) -> None:
    await world.put(world.upload())
    head = await world.client.head(world.download(how=Disposition.INLINE))
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(CONTENT)))
    assert head.headers["content-disposition"].startswith("inline; ")
    missing = await world.client.head(world.download("none"))
    assert (missing.status_code, missing.content) == (404, b"")


async def test_a_head_has_no_parts(world: World) -> None:
    await world.put(world.upload())
    for asked in ("bytes=0-9", "bytes=999999-"):
        head = await world.client.head(world.download(), headers={"Range": asked})
        assert (head.status_code, head.headers["content-length"]) == (200, str(len(CONTENT)))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_another_version_than_the_one_that_is_asked_for_is_refused(world: World, method: str) -> None:
    etag = (await world.put(world.upload())).headers["etag"]
    uploaded = formatdate(NOW / 1000, usegmt=True)
    before = formatdate(NOW / 1000 - 1, usegmt=True)
    for headers, status in (
        ({"If-Match": etag}, 200),
        ({"If-Match": f'"x", {etag}'}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"x"'}, 412),
        ({"If-Match": f"W/{etag}"}, 412),
        ({"If-Unmodified-Since": uploaded}, 200),
        ({"If-Unmodified-Since": before}, 412),
        ({"If-Unmodified-Since": "yesterday"}, 200),
        ({"If-Unmodified-Since": before, "If-Match": etag}, 200),
        ({"If-Match": '"x"', "If-None-Match": etag}, 412),
    ):
        answer = await world.client.request(method, world.download(), headers=headers)
        assert answer.status_code == status, headers


@pytest.mark.parametrize("name", ["Content-Range", "If-None-Match", "If-Match", "If-Unmodified-Since"])
async def test_an_upload_is_a_whole_file_without_conditions(world: World, name: str) -> None:
    answer = await world.put(world.upload(), **{name: "*"})
    assert (code(answer), name in answer.text) == ((501, "NotImplemented"), True)
    assert await world.keys() == []


@pytest.mark.parametrize("text", ["Sun Nov  6 08:49:37 1994", "Sun, 06 Nov 1994 08:49:37 -0000"])
def test_a_date_without_a_zone_is_of_utc_wherever_the_hub_runs(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at_ms = 784_111_777_000
    try:
        for zone in ("Asia/Tokyo", "America/New_York"):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            scope = {"type": "http", "headers": [(b"if-unmodified-since", text.encode())]}
            changed = [fails(scope, Download("k", 1, "e", "n", "text/plain", at_ms + more)) for more in (0, 1000)]
            assert changed == [False, True], zone
    finally:
        monkeypatch.undo()
        time.tzset()


async def test_pages_may_send_all_conditions_that_are_looked_at(world: World) -> None:
    asked = await world.client.options(world.download(), headers={"Origin": "https://desk.example", "Access-Control-Request-Method": "GET"})
    allowed = {each.strip().lower() for each in asked.headers["access-control-allow-headers"].split(",")}
    assert {"range", "if-range", "if-match", "if-none-match", "if-unmodified-since"} <= allowed
