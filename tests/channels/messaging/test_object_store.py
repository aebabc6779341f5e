"""Media in an object store: a whole hub on a real server of S3's protocol, and what happens while that server is away."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from channels.messaging.media_store import PREFIX, MediaStore
from channels.messaging.retention import MessagingRetention
from channels.messaging.settings import MessagingSettings
from hub.objects.folder import ORPHAN_S, new_id
from hub.objects.local import LocalStore
from hub.objects.open_store import open_store
from hub.objects.settings import ObjectsSettings
from hub.objects.store import ObjectStore
from tests.channels.messaging.support import API, NEXUS, SECRET, SMS, Exchange, Receiver, form, signature
from tests.conftest import HubFactory
from tests.hub.objects.test_store import keys, put
from tests.support.hub_process import HubProcess
from tests.support.s3_server import S3Server
from tests.world import ManualClock

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(100_000)
OTHER = PNG + b"since"


@pytest.fixture
def server(s3_process: Callable[..., S3Server]) -> S3Server:
    return s3_process()


def environment(server: S3Server, bucket: str) -> dict[str, str]:
    """The settings of a hub whose files lie in this bucket, as its environment has them."""
    named = {f"HUB_OBJECTS__{name.upper()}": str(value) for name, value in server.settings(bucket).items()}
    return named | {"HUB_OBJECTS__RETRY_S": "0", "HUB_OUTBOX__ALLOWED_NETWORKS": '["127.0.0.0/8"]'}


def third(hub: HubProcess, method: str, path: str, body: bytes = b"", **headers: str) -> httpx.Response:
    """A request of the third party, signed."""
    shown = {"x-ccid": "demo", "X-Hub-Signature": signature(body), **headers}
    return httpx.request(method, f"{hub.url}{NEXUS}/{SMS}{path}", content=body, headers=shown, timeout=60)


def upload(hub: HubProcess, content: bytes) -> httpx.Response:
    body, headers = form(content, "a.png")
    return third(hub, "POST", "/media", body, **headers)


def download(hub: HubProcess, identifier: str) -> httpx.Response:
    return third(hub, "GET", f"/media/{identifier}")


def stored(server: S3Server, bucket: str) -> list[str]:
    """The keys of the media in a bucket."""
    listed = server.client().list_objects_v2(Bucket=bucket, Prefix="hub/messaging/")
    return [each["Key"] for each in listed.get("Contents", [])]


@pytest.mark.timeout(240)
async def test_media_move_to_a_bucket_and_those_from_before_stay_readable(hub_process: HubFactory, server: S3Server) -> None:
    """The bucket is named by the settings of a second start, as an operator does it."""
    bucket = server.bucket()
    receiver = Receiver()
    async with receiver.listening():
        hub = hub_process(environment={"HUB_OUTBOX__ALLOWED_NETWORKS": '["127.0.0.0/8"]'})

        def told(body: dict[str, Any]) -> Any:
            answer = hub.post(f"{API}{body.pop('path', '')}", body)
            assert answer.status_code == 200, answer.text
            return answer.json()["data"]

        def before() -> str:
            told({"id": SMS, "type": "sms", "webhook": receiver.url, "secret": SECRET})
            identifier: str = upload(hub, PNG).json()["data"]["mediaId"]
            hub.stop()
            hub.environment.update(environment(server, bucket))
            hub.start()
            return identifier

        old = await asyncio.to_thread(before)

        def since() -> str:
            assert download(hub, old).content == PNG
            identifier: str = upload(hub, OTHER).json()["data"]["mediaId"]
            assert download(hub, identifier).content == OTHER
            assert stored(server, bucket) == [f"hub/messaging/{identifier[:2]}/{identifier}"]
            return identifier

        new = await asyncio.to_thread(since)
        # links in messages lead to both
        for identifier, content in ((old, PNG), (new, OTHER)):
            named = {"type": "image", "url": f"genesys://nexus/{identifier}"}
            sent = {"channel": {"to": {"id": "1"}}, "type": "RichMedia", "content": [named]}
            await asyncio.to_thread(told, {"path": f"/{SMS}/messages", **sent})
            async with asyncio.timeout(60):
                while not (links := [each["content"][0]["url"] for each in receiver.bodies() if identifier in str(each)]):
                    await asyncio.sleep(0.02)
            link = f"{hub.url}{urlsplit(links[0]).path}?{urlsplit(links[0]).query}"
            answer = await asyncio.to_thread(httpx.get, link, timeout=60)
            assert (answer.status_code, answer.content) == (200, content)

        def ended() -> None:
            for identifier in (old, new):
                assert third(hub, "DELETE", f"/media/{identifier}").status_code == 200
                assert download(hub, identifier).status_code == 404
            assert stored(server, bucket) == []
            # the store goes, and comes back
            kept = upload(hub, PNG).json()["data"]["mediaId"]
            server.kill()
            refused = upload(hub, PNG)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert download(hub, kept).status_code == 503
            server.start()
            assert download(hub, kept).content == PNG
            assert upload(hub, PNG).status_code == 200
            assert len(stored(server, bucket)) == 2

        await asyncio.to_thread(ended)


def over(exchange: Exchange, store: ObjectStore, folder: Path, **options: Any) -> MessagingRetention:
    """The family's retention, over media in this store."""
    media = MediaStore(store, PREFIX, LocalStore(folder))
    return MessagingRetention(exchange.transactions, media, MessagingSettings(), exchange.clock, exchange.counters, **options)


async def test_a_sweep_sees_its_own_folder_alone(light: Exchange, s3_server: S3Server, tmp_path: Path) -> None:
    store = open_store(ObjectsSettings(**s3_server.settings(s3_server.bucket())), tmp_path, ManualClock())
    lost = new_id()
    others = ["files/acme/ab/abcd", f"mail/{lost[:2]}/{lost}", f"messagingx/{lost[:2]}/{lost}", lost]
    for key in others:
        await put(store, key)
    await MediaStore(store, PREFIX).write(lost, PNG)
    light.clock.now_ms += 100 * 365 * 86_400_000 + ORPHAN_S * 1000  # whenever the server says that it was written
    assert await over(light, store, tmp_path).sweep() == 1
    assert await keys(store) == sorted(others)


async def test_retention_goes_on_after_the_store_was_away(light: Exchange, server: S3Server, tmp_path: Path) -> None:
    settings = ObjectsSettings(**server.settings(server.bucket()), retry_s=0)
    store = open_store(settings, tmp_path, ManualClock())
    await MediaStore(store, PREFIX).write(new_id(), os.urandom(1000))
    light.clock.now_ms += 100 * 365 * 86_400_000
    service = over(light, store, tmp_path, period_s=0.05)
    server.kill()
    await service.start()
    try:
        await asyncio.sleep(0.3)
        server.start()
        async with asyncio.timeout(60):
            while await keys(store):
                await asyncio.sleep(0.05)
    finally:
        await service.stop()
