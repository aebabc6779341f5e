"""What ``hub doctor`` says of the object store."""

from __future__ import annotations

import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from channels.families import FAMILIES
from hub.doctor.folder import LOW_BYTES
from hub.doctor.inspection import Finding, Inspection, Level
from hub.families import migrations_of
from hub.objects import doctor
from hub.objects.doctor import object_store
from hub.ops.settings import load
from tests.hub.objects.test_s3_links import documented_rules
from tests.support.redis_server import free_port
from tests.support.s3_server import S3Server

SEVERAL = {"redis_url": "redis://localhost", "secret": "at least sixteen characters", "database_url": "postgresql://hub@localhost/hub"}


def found(folder: Path, **flags: Any) -> list[Finding]:
    settings = load(FAMILIES, config=None, flags={"data_dir": str(folder / "data"), **flags})
    return list(object_store(Inspection(settings, 0, migrations_of(()))))


def told(findings: list[Finding]) -> list[tuple[Level, str]]:
    return [(each.level, each.message) for each in findings]


class Usage(NamedTuple):
    """As :func:`shutil.disk_usage` returns it."""

    total: int
    used: int
    free: int


# -- a folder ---------------------------------------------------------------------------------------------------------


def test_a_folder_that_will_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1, 0, LOW_BYTES))
    (one,) = found(tmp_path)
    assert (one.level, "is made with the first file" in one.message) == (Level.OK, True)
    (tmp_path / "data" / "objects").mkdir(parents=True)
    (one,) = found(tmp_path)
    assert told([one]) == [(Level.OK, f"{tmp_path}/data/objects can be read and written; 1024 MiB are free")]


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    (one,) = found(tmp_path, objects={"url": f"file://{tmp_path}/file/objects"})
    assert told([one]) == [(Level.PROBLEM, f"{tmp_path}/file cannot be read and written by this user")]
    assert "objects.url" in one.advice


@pytest.mark.parametrize(("free", "level"), [(LOW_BYTES - 1, Level.WARNING), (0, Level.PROBLEM)])
def test_a_disk_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, level: Level) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1, 1, free))
    assert [each.level for each in found(tmp_path)] == [level]


def test_several_hubs_need_a_store_that_they_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1, 0, LOW_BYTES))
    (one,) = found(tmp_path, **SEVERAL)
    assert (one.level, "one hub's own" in one.message, "HUB_OBJECTS__URL" in one.advice) == (Level.WARNING, True, True)
    (one,) = found(tmp_path, **SEVERAL, objects={"url": f"file://{tmp_path}/shared"})
    assert one.level is Level.OK


def test_files_that_were_left_behind(tmp_path: Path) -> None:
    (tmp_path / "data" / "objects" / ".parts").mkdir(parents=True)
    (tmp_path / "data" / "objects" / ".parts" / "half").write_bytes(b"x")
    elsewhere = {"url": f"file://{tmp_path}/new"}
    assert [each.level for each in found(tmp_path, objects=elsewhere)] == [Level.OK]
    (tmp_path / "data" / "objects" / "messaging").mkdir()
    (tmp_path / "data" / "objects" / "messaging" / "x").write_bytes(b"x")
    _, left = found(tmp_path, objects=elsewhere)
    assert (left.level, "does not read them there" in left.message) == (Level.WARNING, True)
    assert [each.level for each in found(tmp_path, objects={"url": f"file://{tmp_path}/data/objects"})] == [Level.OK]


# -- a bucket ---------------------------------------------------------------------------------------------------------


def test_a_bucket_that_works(tmp_path: Path, s3_server: S3Server) -> None:
    bucket = s3_server.bucket()
    objects = s3_server.settings(bucket)
    assert told(found(tmp_path, objects=objects)) == [
        (Level.OK, f"s3://{bucket}/hub can be written and read"),
        (Level.OK, "the object store's clock and this machine's agree"),
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [({"secret_access_key": "another"}, "SignatureDoesNotMatch"), ({"url": "s3://no-such-bucket"}, "NoSuchBucket")],
)
def test_a_bucket_that_does_not_let_the_hub_in(tmp_path: Path, s3_server: S3Server, change: dict[str, str], expected: str) -> None:
    first, clock = found(tmp_path, objects={**s3_server.settings(s3_server.bucket()), **change})
    assert (first.level, expected in first.message, "access key" in first.advice) == (Level.PROBLEM, True, True)
    assert "another" not in first.message
    assert clock.level is Level.OK


def test_a_server_that_does_not_answer(tmp_path: Path) -> None:
    objects = {"url": "s3://files", "endpoint": f"http://127.0.0.1:{free_port()}", "retry_s": 0}
    first, second = found(tmp_path, objects={**objects, "access_key_id": "AK", "secret_access_key": "secret"})
    assert (first.level, second.level) == (Level.PROBLEM, Level.WARNING)
    assert "does not answer" in second.message


def test_an_option_that_the_library_does_not_take(tmp_path: Path) -> None:
    (one,) = found(tmp_path, objects={"url": "gs://files", "options": {"no_such_option": "x"}})
    assert (one.level, "no_such_option" in one.message) == (Level.PROBLEM, True)


def test_pages_of_a_bucket_with_direct_links(tmp_path: Path, s3_server: S3Server) -> None:
    bucket = s3_server.bucket()
    objects = s3_server.settings(bucket, direct=True)
    pages = {"public_url": "https://desk.example.com/hub", "allowed_origins": ["https://desk.example.com", "https://other.example.com"]}
    refused = found(tmp_path, objects=objects, **pages)[-1]
    assert (refused.level, refused.message) == (
        Level.WARNING,
        "pages of https://desk.example.com, https://other.example.com may not use links to the bucket, which objects.direct hands out",
    )
    s3_server.client().put_bucket_cors(Bucket=bucket, CORSConfiguration=documented_rules())
    assert "https://desk.example.com" not in found(tmp_path, objects=objects, **pages)[-1].message
    pages["allowed_origins"] = []
    assert told(found(tmp_path, objects=objects, **pages)[-1:]) == [
        (Level.OK, "pages may use links to the bucket: https://desk.example.com")
    ]
    assert "no origin is known" in found(tmp_path, objects=objects)[-1].message


# -- the clock --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def answering(date: str) -> AsyncIterator[str]:
    """A server that says what the time is."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(headers={"Date": date})

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("ahead_s", "level", "said"), [(30, Level.OK, "agree"), (300, Level.WARNING, "ahead of"), (-2000, Level.PROBLEM, "behind")]
)
async def test_clocks_that_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead_s: int, level: Level, said: str) -> None:
    now: Callable[[], float] = lambda: 1_800_000_000.0  # noqa: E731 - it stands for time.time
    monkeypatch.setattr(time, "time", now)
    async with answering(formatdate(now() - ahead_s, usegmt=True)) as endpoint:
        settings = load(FAMILIES, config=None, flags={"data_dir": str(tmp_path), "objects": {"url": "s3://files", "endpoint": endpoint}})
        (one,) = await doctor._of_s3(settings)
    assert (one.subject, one.level, said in one.message) == ("clock", level, True)


async def test_a_time_that_is_none(tmp_path: Path) -> None:
    async with answering("a quarter past") as endpoint:
        settings = load(FAMILIES, config=None, flags={"data_dir": str(tmp_path), "objects": {"url": "s3://files", "endpoint": endpoint}})
        (one,) = await doctor._of_s3(settings)
    assert (one.level, "a quarter past" in one.message) == (Level.WARNING, True)
