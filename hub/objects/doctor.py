"""The check of ``hub doctor`` for the object store: whether it takes and gives files, its room and its clock, and what pages need of a
bucket.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp import ClientSession
from yarl import URL

from hub.doctor.folder import LOW_BYTES
from hub.doctor.inspection import Finding, Inspection, Level
from hub.objects.claim import CLAIM_KEY, claimed_by
from hub.objects.open_store import ObjectsSettingsError, local_folder, open_store, s3_endpoint
from hub.objects.settings import ObjectsSettings
from hub.objects.sigv4 import SKEW_S
from hub.objects.store import CHECK_KEY, StoreUnavailableError
from hub.ops.settings import Settings
from hub.storage.interface import StorageError
from hub.transports.runtime import SystemClock

SUBJECT: Final = "object store"

CLOCK_SLACK_S: Final = 60.0
"""Seconds by which the clocks of S3 and of this machine may differ without a finding: links end that much sooner or later."""

MAX_ORIGINS: Final = 5
"""Origins whose pages are tried; an operator who has one right has them all."""

_ASKED_S: Final = 10.0
"""Seconds that an answer to one question may take."""

_SHARED: Final = "set objects.url (HUB_OBJECTS__URL) to a bucket, or to a folder that is mounted on all hubs (docs/files.md)"


def object_store(inspection: Inspection) -> Iterator[Finding]:
    """Check the store that the settings name. In that of a cloud it writes and reads the object ``.hub-check``, as a hub does that runs."""
    settings = inspection.settings
    folder = local_folder(settings.objects, settings.data_dir)
    if folder is None:
        yield from _of_cloud(settings)
    else:
        yield from _of_folder(folder, settings)
    yield from _of_owner(inspection)
    yield from _left_behind(folder, settings)


def _of_folder(folder: Path, settings: Settings) -> Iterator[Finding]:
    where = folder.absolute()
    there = next(each for each in (where, *where.parents) if each.exists())
    if not there.is_dir() or not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        advice = f"make {where} a folder that belongs to the hub's user (uid {os.getuid()}), or name another one with objects.url"
        yield Finding(Level.PROBLEM, SUBJECT, f"{there} cannot be read and written by this user", advice)
        return
    free = shutil.disk_usage(there).free
    if free < LOW_BYTES:
        message = f"{where}: {free // 1024**2} MiB are free, and no file is taken that finds no room"
        yield Finding(Level.WARNING if free else Level.PROBLEM, SUBJECT, message, "make room, or keep files for a shorter time")
    if settings.objects.url is None and settings.redis_url is not None and not settings.database.startswith("sqlite"):
        message = f"files lie in {where}, which is one hub's own: the others do not find them"
        yield Finding(Level.WARNING, SUBJECT, message, _SHARED)
    elif free >= LOW_BYTES:
        made = "" if there == where else ", and is made with the first file"
        yield Finding(Level.OK, SUBJECT, f"{where} can be read and written{made}; {free // 1024**2} MiB are free")


def _of_cloud(settings: Settings) -> Iterator[Finding]:
    objects = settings.objects
    try:
        trouble = asyncio.run(_tried(settings))
    except ObjectsSettingsError as error:
        yield Finding(Level.PROBLEM, SUBJECT, str(error), "correct the section objects of the settings")
        return
    if trouble is None:
        yield Finding(Level.OK, SUBJECT, f"{objects.url} can be written and read")
    else:
        advice = "correct objects.url, objects.endpoint and the access key, and give that key the rights of docs/files.md"
        yield Finding(Level.PROBLEM, SUBJECT, f"{objects.url}: {trouble}", advice)
    if (objects.url or "").startswith("s3://"):
        yield from asyncio.run(_of_s3(settings))


async def _tried(settings: Settings) -> str | None:
    store = open_store(settings.objects, settings.data_dir, SystemClock())
    try:
        return await store.check()
    finally:
        await store.close()


async def _of_s3(settings: Settings) -> list[Finding]:
    """What a bucket is asked by plain requests: the time, and whether pages may use links to it."""
    found: list[Finding] = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ASKED_S), trust_env=True) as session:
        try:
            async with session.get(s3_endpoint(settings.objects)) as answer:
                shown = answer.headers.get("Date")
            found += _of_clock(shown)
            if settings.objects.direct:
                found += await _of_pages(session, settings)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            message = f"{s3_endpoint(settings.objects)} does not answer: {error or type(error).__name__}"
            found.append(Finding(Level.WARNING, SUBJECT, message, "look at the way there: a proxy, a firewall, a name that is not known"))
    return found


def _of_clock(shown: str | None) -> Iterable[Finding]:
    if shown is None:
        return
    try:
        ahead_s = time.time() - parsedate_to_datetime(shown).timestamp()
    except ValueError:
        yield Finding(Level.WARNING, "clock", f"the object store says that it is {shown[:60]!r}, which is no time")
        return
    if abs(ahead_s) <= CLOCK_SLACK_S:
        yield Finding(Level.OK, "clock", "the object store's clock and this machine's agree")
        return
    which = "ahead of" if ahead_s > 0 else "behind"
    message = f"the clock of this machine is {abs(ahead_s):.0f} s {which} that of the object store"
    advice = f"keep both right with NTP: links end too early or too late by that, and above {SKEW_S} s S3 refuses every request"
    yield Finding(Level.PROBLEM if abs(ahead_s) > SKEW_S else Level.WARNING, "clock", message, advice)


async def _of_pages(session: ClientSession, settings: Settings) -> list[Finding]:
    """Ask the bucket what a browser asks before an upload, for the pages that may use the hub (the CORS protocol of the Fetch standard)."""
    public = () if settings.public_url is None else ("{0.scheme}://{0.netloc}".format(urlsplit(settings.public_url)),)
    origins = tuple(dict.fromkeys((*public, *settings.allowed_origins)))[:MAX_ORIGINS]
    link = open_store(settings.objects, settings.data_dir, SystemClock()).sign_put(CHECK_KEY, 1, "text/plain", 60)
    assert link is not None  # objects.direct asks for all that a link needs
    refused = []
    for origin in origins:
        asked = {"Origin": origin, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}
        async with session.options(URL(link.url, encoded=True), headers=asked) as answer:
            allowed = answer.headers.get("Access-Control-Allow-Origin")
        if allowed not in (origin, "*"):
            refused.append(origin)
    if refused:
        message = f"pages of {', '.join(refused)} may not use links to the bucket, which objects.direct hands out"
        return [Finding(Level.WARNING, SUBJECT, message, "give the bucket the CORS rules of docs/files.md, with these origins")]
    told = ", ".join(origins) or "no origin is known (public_url, allowed_origins)"
    return [Finding(Level.OK, SUBJECT, f"pages may use links to the bucket: {told}")]


def _of_owner(inspection: Inspection) -> Iterator[Finding]:
    """Whether the store belongs to the database, of which a hub that runs has told it."""
    try:
        ids = [str(row[0]) for row in inspection.rows("SELECT id FROM hub_identity")]
        owner = asyncio.run(_owner(inspection.settings))
    except (StorageError, StoreUnavailableError, ObjectsSettingsError):  # the checks of the database and of the store say so
        return
    if owner is not None and owner not in ids:
        message = "it belongs to another database than this one: files that this database does not know are not removed from it"
        advice = f"check objects.url and database_url; only if this store is this hub's, remove its object {CLAIM_KEY}"
        yield Finding(Level.PROBLEM, SUBJECT, message, advice)


async def _owner(settings: Settings) -> str | None:
    store = open_store(settings.objects, settings.data_dir, SystemClock())
    try:
        return await claimed_by(store)
    finally:
        await store.close()


def _left_behind(folder: Path | None, settings: Settings) -> Iterator[Finding]:
    """Files that a store of the settings before has, and nobody reads."""
    before = local_folder(ObjectsSettings(), settings.data_dir)
    assert before is not None
    if folder is not None and folder.absolute() == before.absolute():
        return
    left = next((path for path in before.rglob("*") if path.is_file() and ".parts" not in path.parts and path.name != CLAIM_KEY), None)
    if left is not None:
        message = f"files lie in {before.absolute()}, where the hub kept them before objects.url was set: it does not read them there"
        yield Finding(Level.WARNING, SUBJECT, message, "copy them, as docs/files.md says, and remove that folder")
