"""Listings of both versions."""

from __future__ import annotations

import base64
import hashlib
import tracemalloc
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from channels.media_storage import store
from channels.media_storage.folders import FOLDERS
from channels.media_storage.keys import MAX_SEGMENTS, folder_of
from channels.media_storage.models import Listing, MediaObject
from channels.media_storage.serializers import MAX_LEVELS
from channels.media_storage.service import Kind
from hub.storage.transactions import Transaction
from tests.channels.media_storage.support import Cabinet, error

HOUR = "exports/reporting/intraday/intraday-2021_05_31_14.tar.gz"


async def test_files_are_listed_flat_with_those_of_all_folders_below(cabinet: Cabinet) -> None:
    for key in (HOUR, "exports/reporting/outreach/outreach-20180401.tar", "exports/cxp/recordings/a.wav"):
        await cabinet.export(key, b"x" * 5_498_880 if key == HOUR else b"x")
    await cabinet.export(HOUR, b"x", tenant="other")
    page = await cabinet.listed("exports/reporting/")
    assert page == {
        "kind": "objectKeys",
        "totalItems": 2,
        "objectKeys": [
            {
                "kind": "objectKey",
                "key": HOUR,
                "keyName": "intraday-2021_05_31_14.tar.gz",
                "size": "5370.0 KB",
                "keyType": "file",
                "childObjectKeys": [],
                "lastModifiedTime": "2026-03-01T12:00:00.000Z",
            },
            {
                "kind": "objectKey",
                "key": "exports/reporting/outreach/outreach-20180401.tar",
                "keyName": "outreach-20180401.tar",
                "size": "0.0 KB",
                "keyType": "file",
                "childObjectKeys": [],
                "lastModifiedTime": "2026-03-01T12:00:00.000Z",
            },
        ],
    }
    assert len(await cabinet.keys("exports/")) == 3


async def test_version_2_has_empty_links_and_no_total(cabinet: Cabinet) -> None:
    await cabinet.export(HOUR)
    page = await cabinet.listed("exports/reporting/", version=2)
    assert set(page) == {"kind", "objectKeys"}
    (one,) = page["objectKeys"]
    links = {f"{native}igned{verb}Url" for native in ("s", "nativeS") for verb in ("Upload", "Download")}
    assert {one[name] for name in links} == {""}


async def test_folders_are_a_tree_with_the_top(cabinet: Cabinet) -> None:
    await cabinet.export("exports/reporting/deep/er/a.txt")
    page = await cabinet.listed("exports/reporting/", "directory")
    (top,) = page["objectKeys"]
    assert (top["key"], top["keyType"], top["size"]) == ("exports/reporting/", "directory", "")
    assert "lastModifiedTime" not in top
    names = [each["key"] for each in top["childObjectKeys"]]
    assert names == [f"exports/reporting/{name}/" for name in ("deep", "enterprise-historical", "intraday", "outreach")]
    (deeper,) = top["childObjectKeys"][0]["childObjectKeys"]
    assert (deeper["key"], deeper["childObjectKeys"]) == ("exports/reporting/deep/er/", [])
    assert page["totalItems"] == 6


async def test_one_level_has_files_and_folders_in_the_order_of_bytes(cabinet: Cabinet) -> None:
    for name in ("intraday.txt", "intraday/a", "intraday/b", "intraday-x/c", "z/y/x", "Z", "é"):
        await cabinet.export(f"exports/reporting/{name}")
    expected = ["Z", "enterprise-historical/", "intraday-x/", "intraday.txt", "intraday/", "outreach/", "z/", "é"]
    page = await cabinet.listed("exports/reporting/", "file:directory")
    assert [each["key"].removeprefix("exports/reporting/") for each in page["objectKeys"]] == expected
    assert page["totalItems"] == len(expected)
    for most in (1, 2, 3, 5):
        assert await cabinet.every_page("exports/reporting/", "file:directory", most) == [f"exports/reporting/{each}" for each in expected]


@pytest.mark.parametrize("version", [2, 3])
async def test_known_folders_are_there_while_they_are_empty(light: Cabinet, version: int) -> None:
    for folder in FOLDERS.values():
        answer = await light.ask(version, f"{folder.path}/", q_keyType="file")
        if folder.since > version:
            assert error(answer)[0] == 404
        else:
            assert (answer.status_code, answer.json()["objectKeys"]) == (200, [])
        assert (await light.ask(version, folder.path, q_keyType="file")).status_code == answer.status_code
    (top,) = (await light.listed("imports/", "directory", version=version))["objectKeys"]
    names = {each["keyName"] for each in top["childObjectKeys"]}
    assert ("workforce" in names) is (version == 3)
    assert {"apm", "aps-custom", "configuration", "motivate", "outreach"} <= names


async def test_a_folder_that_nobody_has_is_not_there(light: Cabinet) -> None:
    assert error(await light.ask(3, "exports/none/", q_keyType="file"))[0] == 404
    await light.export("exports/none/a")
    assert await light.keys("exports/none/") == ["exports/none/a"]


async def test_the_key_of_a_file_lists_that_file(light: Cabinet) -> None:
    await light.export(HOUR)
    for kind in ("file", "file:directory"):
        assert await light.keys(HOUR, kind) == [HOUR]
        assert error(await light.ask(3, f"{HOUR}x", q_keyType=kind))[0] == 404
    status, text = error(await light.ask(3, HOUR, q_keyType="directory"))
    assert (status, "a slash at its end" in text) == (400, True)


async def test_the_token_is_the_base64_of_the_next_key(light: Cabinet) -> None:
    for number in range(3):
        await light.export(f"exports/reporting/intraday/{number}")
    page = await light.listed("exports/reporting/", q_maxResults=2)
    assert base64.b64decode(page["nextToken"]).decode() == "exports/reporting/intraday/2"
    assert page["totalItems"] == 3
    assert await light.every_page("exports/reporting/", "file", 2, version=2) == [f"exports/reporting/intraday/{n}" for n in range(3)]


@pytest.mark.parametrize("token", ["!", "a", "ZXhw", base64.b64encode(b"imports/x").decode(), base64.b64encode(b"exports/\xff").decode()])
async def test_another_token_is_refused(light: Cabinet, token: str) -> None:
    status, text = error(await light.ask(3, "exports/", q_keyType="file", q_nextToken=token))
    assert (status, text.startswith("nextToken: expected the token of an answer before")) == (400, True)


async def test_a_plus_sign_of_a_token_may_come_bare(light: Cabinet) -> None:
    """Clients put tokens into a query as they are."""
    keys = ["exports/reporting/a", "exports/reporting/~~~~>>>"]
    for key in keys:
        await light.export(key)
    token = (await light.listed("exports/reporting/", q_maxResults=1))["nextToken"]
    assert "+" in token
    url = f"/via/v3/organizations/acme/mediaStorage/data/objectKeys?key=exports%2freporting%2f&keyType=file&nextToken={token}"
    assert [each["key"] for each in (await light.call("GET", url)).json()["objectKeys"]] == keys[1:]


@pytest.mark.parametrize("most", ["0", "1001", "x", "-1"])
async def test_the_size_of_a_page_is_bounded(light: Cabinet, most: str) -> None:
    status, text = error(await light.ask(3, "exports/", q_keyType="file", q_maxResults=most))
    assert (status, "maxResults" in text) == (400, True)


@pytest.mark.parametrize(
    "condition",
    [
        "path >= 'exports/' AND path < 'exports0' ORDER BY path LIMIT 1001",
        "folder = 'exports/' AND path >= 'exports/a' ORDER BY path LIMIT 1001",
    ],
)
async def test_a_page_is_read_from_an_index_alone(light: Cabinet, condition: str) -> None:
    query = f"EXPLAIN QUERY PLAN SELECT path, size, modified_ms FROM media_objects WHERE tenant = 'acme' AND {condition}"
    (plan,) = [row[3] for row in await light.transactions.read(lambda tx: tx.rows(query))]
    assert "USING COVERING INDEX" in plan


async def _keep(cabinet: Cabinet, keys: list[str]) -> None:
    """Have rows of files, as they are there from the time before keys had at most so many segments."""

    def write(tx: Transaction) -> None:
        store.lock(tx, "acme")
        for key in keys:
            made = MediaObject(key, hashlib.sha256(key.encode()).hexdigest()[:36], 1, "", "", 0)
            store.put(tx, "acme", folder_of(key), made, None)

    await cabinet.transactions.write(write)


async def test_a_listing_of_folders_keeps_no_more_of_them_than_its_page_has(light: Cabinet) -> None:
    """A hundred keys have 50,000 folders, of 27 MB as text."""
    await _keep(light, [f"imports/d{number:03}/{'b/' * 500}f" for number in range(100)])
    await light.listed("imports/", "directory", version=2, q_maxResults=1)
    tracemalloc.start()
    try:
        page = await light.listed("imports/", "directory", q_maxResults=1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [each["key"] for each in page["objectKeys"]] == ["imports/"]
    assert "totalItems" not in page, "more than are counted"
    assert peak < 5_000_000


@pytest.mark.parametrize("version", [2, 3])
async def test_folders_of_any_depth_are_listed(light: Cabinet, version: int) -> None:
    """Writers of JSON refuse what is nested by more than 254 levels."""
    deep = [f"imports/deep/{'b/' * depth}" for depth in range(501)]
    await _keep(light, [f"{deep[-1]}f", f"{deep[200]}g", f"{deep[3]}c/f"])
    found: list[tuple[str, int]] = []

    def walk(lines: list[dict[str, Any]], level: int) -> None:
        for line in lines:
            found.append((line["key"], level))
            walk(line["childObjectKeys"], level + 1)

    walk((await light.listed("imports/deep/", "directory", version=version))["objectKeys"], 1)
    expected = sorted([*deep, f"{deep[3]}c/"])
    assert [key for key, _ in found] == expected
    assert all(level == min(key.count("/") - 1, MAX_LEVELS) for key, level in found)
    name = "nextToken" if version == 3 else "continuationToken"
    page = await light.listed("imports/deep/", "directory", version=version, q_maxResults=500)
    found.clear()
    last = await light.listed("imports/deep/", "directory", version=version, **{f"q_{name}": page[name]})
    walk(last["objectKeys"], 1)
    assert [key for key, _ in found][-2:] == expected[-2:]
    assert found[0] == ("imports/deep/", 1)


NAMES = st.lists(st.sampled_from(["a", "b", "c-d", "c", "é", "日", "z"]), min_size=1, max_size=3).map("/".join)


@pytest.mark.timeout(600)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stays=st.sets(NAMES, min_size=1, max_size=8),
    changes=st.lists(st.tuples(st.booleans(), NAMES), max_size=8),
    most=st.integers(1, 4),
    kind=st.sampled_from(list(Kind)),
)
async def test_pages_stand_while_files_come_and_go(
    light: Cabinet, stays: set[str], changes: list[tuple[bool, str]], most: int, kind: Kind
) -> None:
    """Whatever is uploaded or deleted between two pages: what was there all the time comes, once and in order."""
    base = "exports/reporting/walk/"

    def change(comes: bool, key: str) -> Callable[[Transaction], None]:
        def write(tx: Transaction) -> None:
            made = MediaObject(key, hashlib.sha256(key.encode()).hexdigest()[:36], 1, "", "", 0)
            if comes:
                store.put(tx, "acme", folder_of(key), made, None)
            else:
                store.remove(tx, "acme", key)

        return write

    def begin(tx: Transaction) -> None:
        tx.run("DELETE FROM media_objects")
        store.lock(tx, "acme")
        for name in sorted(stays):
            change(True, f"{base}{name}.txt")(tx)

    def told(page: Listing) -> bytes:
        return orjson.dumps([[line.path for line in page.lines], page.follows])

    await light.transactions.write(begin)
    found: list[str] = []
    start, waiting = "", list(changes)
    while True:
        body = await light.media.listing("acme", base, kind, version=3, start=start, limit=most, counted=False, render=told)
        paths, follows = orjson.loads(body)
        assert len(paths) <= most
        found += paths
        if follows is None:
            break
        start = follows
        if waiting:
            comes, name = waiting.pop()
            await light.transactions.write(change(comes, f"{base}{name}.dat"))
    assert found == sorted(set(found), key=str.encode)
    assert _lines(base, {f"{base}{name}.txt" for name in stays}, kind) <= set(found)


def _lines(base: str, files: set[str], kind: Kind) -> set[str]:
    if kind is Kind.FILE:
        return files
    if kind is Kind.DIRECTORY:
        return {key[: at + 1] for key in files for at in range(len(base) - 1, len(key)) if key[at] == "/"}
    rests = {key.removeprefix(base) for key in files}
    return {base + (rest if "/" not in rest else f"{rest.partition('/')[0]}/") for rest in rests}


async def test_the_deepest_file_is_listed_in_every_way_and_a_deeper_one_is_refused(light: Cabinet) -> None:
    deepest = f"imports/{'a/' * (MAX_SEGMENTS - 2)}f"
    await light.upload(deepest)
    refused = await light.ask(3, f"imports/a/{deepest.removeprefix('imports/')}", call="signedUploadUrl")
    assert error(refused) == (400, f"key: expected at most {MAX_SEGMENTS} segments, got {MAX_SEGMENTS + 1}")
    for version in (2, 3):
        for kind in ("file", "file:directory", "directory"):
            assert (await light.ask(version, "imports/", q_keyType=kind)).status_code == 200
