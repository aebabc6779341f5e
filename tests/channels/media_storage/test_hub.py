"""Media storage in a whole hub: Alvaria's own examples, scopes of OAuth, what a crash leaves."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import socket
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from hub.objects.instances import instance_id
from tests.channels.messaging.support import WITHIN_S, Receiver
from tests.conftest import HubFactory
from tests.support.hub_process import HubProcess

pytestmark = pytest.mark.timeout(600)

BASE = "/via/v3/organizations/demo/mediaStorage/data"
LOCAL = {"HUB_OUTBOX__ALLOWED_NETWORKS": '["127.0.0.0/8"]', "HUB_OUTBOX__RETRY_S": "[0.2,0.2,0.2]", "HUB_OUTBOX__JITTER": "0"}
RAW = "imports/outreach/list-management/outreach.raw"


def link(hub: HubProcess, key: str, call: str = "signedUploadUrl") -> str:
    answer = hub.get(f"{BASE}/{call}", params={"key": key})
    assert answer.status_code == 200, answer.text
    return str(answer.json()[call])


def upload(hub: HubProcess, key: str, content: bytes = b"hello") -> None:
    assert httpx.put(link(hub, key), content=content, timeout=WITHIN_S).status_code == 200


# -- the examples of Alvaria's description, letter by letter but for the host, the organisation, the key and the credentials ----------

UPLOAD_LINK = (
    'curl -X GET "https://{orgId}.via.aspect-cloud.net/via/v2/organizations/{orgId}/mediaStorage/data/objectKeys'
    '?key=imports%2Foutreach%2flist-management%2foutreach.raw&keyType=signedUploadUrl"'
)
DOWNLOAD_LINK = (
    'curl -X GET "https://{orgId}.via.aspect-cloud.net/via/v2/organizations/{orgId}/mediaStorage/data/objectKeys'
    '?key=exports%2Freporting%2Foutreach%2foutreach-20180401.tar&keyType=signedDownloadUrl"'
)
UPLOAD = """curl -X PUT "{signedUploadUrl}" \\
-H "x-amz-server-side-encryption:'aws:kms'" \\
-H "x-amz-server-side-encryption-aws-kms-key-id={kmsId}"
"""
CREDENTIALS = """ \\
  -H 'Accept: application/json' \\
  -H 'Authorization: string' \\
  -H 'x-api-key: string'
"""
SAMPLES = {
    ("GET", "v2", "objectKeys?key=string&keyType=file"): 200,
    ("GET", "v3", "objectKeys?key=string&keyType=file"): 200,
    ("GET", "v3", "signedUploadUrl?key=string"): 200,
    ("GET", "v3", "signedDownloadUrl?key=string"): 200,
    ("DELETE", "v2", "objectKeys?key=string"): 204,
    ("DELETE", "v3", "objectKeys?key=string"): 404,
}
"""The code samples, and how the last but one leaves nothing for the last."""


def curl(hub: HubProcess, line: str, *more: str, key: str = RAW) -> tuple[int, str]:
    """Run one line; returns status and body."""
    line = re.sub(r"https://(\{orgId\}\.via\.aspect-cloud\.net|orgId\.domain)", hub.url, line).replace("{orgId}", "demo")
    line = line.replace("key=string", f"key={key}").replace("Authorization: string", "Authorization: Bearer demo-token")
    line = line.replace("x-api-key: string", "x-api-key: demo-key")
    # without a shell: the samples have an unquoted & in their URLs
    command = [*shlex.split(line.replace("\\\n", " ")), "-s", "-S", "-w", "\n%{http_code}", "--noproxy", "*", *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=True)
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


def test_the_examples_of_the_description(demo_hub: HubProcess, tmp_path: Path) -> None:
    file = tmp_path / "outreach.raw"
    file.write_bytes(b"first,last\n" * 1000)
    assert curl(demo_hub, UPLOAD_LINK) == (401, "")
    status, body = curl(demo_hub, UPLOAD_LINK + CREDENTIALS)
    linked = json.loads(body)
    assert (status, linked["key"], linked["keyName"], linked["size"]) == (200, RAW, "outreach.raw", "")
    put = UPLOAD.replace("{signedUploadUrl}", linked["signedUploadUrl"])
    for more in (("--data-binary", f"@{file}"), ("-T", str(file))):
        assert curl(demo_hub, put, *more) == (200, "")
    status, body = curl(demo_hub, DOWNLOAD_LINK + CREDENTIALS)
    assert (status, json.loads(body)["error"]["code"]) == (404, "404")
    for (method, version, call), expected in SAMPLES.items():
        line = f"curl -X {method} https://orgId.domain/via/{version}/organizations/{{orgId}}/mediaStorage/data/{call}{CREDENTIALS}"
        status, body = curl(demo_hub, line)
        assert status == expected, body
        if "signedDownloadUrl" in call:
            get = f'curl -X GET "{json.loads(body)["signedDownloadUrl"]}"'
            assert curl(demo_hub, get) == (200, file.read_text())


# -- scopes of OAuth --------------------------------------------------------------------------------------------------------------


def test_a_token_with_a_scope_may_use_its_folder_and_all_below(demo_hub: HubProcess) -> None:
    client = {"id": "fetcher", "grants": ["client_credentials"], "roles": ["admin"]}
    secret = demo_hub.post("/api/v1/clients", client).json()["data"]["secret"]
    form = {"grant_type": "client_credentials", "client_id": "fetcher", "client_secret": secret}
    for scope, may, may_not in (
        ("mediastorageapi.exports.reporting", "exports/reporting/intraday/", "exports/reporting-archive/"),
        ("mediastorageapi.imports.motivate.kpi", "imports/motivate/kpi/", "imports/motivate/"),
    ):
        answer = httpx.post(f"{demo_hub.url}/auth/v3/oauth/token", data={**form, "scope": scope}, timeout=WITHIN_S)
        headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        for key, status in ((may, 200), (may_not, 403)):
            query = {"key": key, "keyType": "file"}
            assert httpx.get(f"{demo_hub.url}{BASE}/objectKeys", params=query, headers=headers, timeout=WITHIN_S).status_code == status


# -- what a crash leaves ----------------------------------------------------------------------------------------------------------


async def test_an_upload_is_told_once_after_a_crash(hub_process: HubFactory) -> None:
    hub = hub_process(environment=LOCAL)
    receiver, silent = Receiver(), Receiver()
    async with receiver.listening(), silent.listening():
        asking = {"url": receiver.url, "types": ["media.uploaded"]}
        for body in (asking, {"url": silent.url}):
            assert (await asyncio.to_thread(hub.post, "/api/v1/endpoints", body)).status_code == 200
        receiver.answers = [None]
        keys = [f"imports/outreach/{number}.csv" for number in range(5)]
        for key in keys:
            await asyncio.to_thread(upload, hub, key)
        async with asyncio.timeout(WITHIN_S):
            while not receiver.got:
                await asyncio.sleep(0.02)
        await asyncio.to_thread(hub.kill9)
        receiver.answers = [(200, b"{}")]
        await asyncio.to_thread(hub.start)
        listed = await asyncio.to_thread(hub.get, f"{BASE}/objectKeys", params={"key": "imports/", "keyType": "file"})
        assert [each["key"] for each in listed.json()["objectKeys"]] == keys
        await asyncio.to_thread(upload, hub, "imports/last.csv")
        async with asyncio.timeout(WITHIN_S):
            while len({each.headers["webhook-id"] for each in receiver.got}) < 6:
                await asyncio.sleep(0.02)
            told = await _operations(hub, "imports/last.csv")
        assert Counter(told) == Counter([*keys, "imports/last.csv"])
        ids = {each.headers["webhook-id"]: json.loads(each.body)["key"] for each in receiver.got}
        assert Counter(ids.values()) == Counter([*keys, "imports/last.csv"])
        body = json.loads(receiver.got[0].body)
        assert (body["type"], body["orgId"], body["size"]) == ("media.uploaded", instance_id("demo"), 5)
        assert "files/v1" not in receiver.got[0].body.decode()
        assert not [each for each in silent.got if b"media.uploaded" in each.body]


async def _operations(hub: HubProcess, last: str) -> list[str]:
    """The keys of uploads on ``/hub/operations`` from the beginning, up to the one of ``last``."""
    found: list[str] = []
    headers = {**hub.headers, "Last-Event-ID": "0"}
    async with (
        httpx.AsyncClient(timeout=WITHIN_S) as client,
        client.stream("GET", f"{hub.url}/events?channel=/hub/operations", headers=headers) as stream,
    ):
        async for line in stream.aiter_lines():
            if line.startswith("data:"):
                data: Any = json.loads(line.removeprefix("data:")).get("data")
                if data is None:
                    continue  # how the stream begins
                found.append(data["key"])
                if data["key"] == last:
                    return found
    raise AssertionError(f"the stream ended before {last}")


def test_half_an_upload_leaves_nothing_after_a_crash(hub_process: HubFactory) -> None:
    hub = hub_process()
    parts = urlsplit(link(hub, RAW))
    with socket.create_connection(("127.0.0.1", hub.port)) as connection:
        head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 2000000\r\n\r\n"
        connection.sendall(head.encode() + b"x" * 1_000_000)
        unfinished = hub.data_dir / "objects" / ".parts"
        while not any(each.stat().st_size for each in unfinished.glob("*")):
            pass  # the bytes are on their way to the disk
        hub.kill9()
    hub.start()
    listed = hub.get(f"{BASE}/objectKeys", params={"key": "imports/", "keyType": "file"}).json()
    assert (listed["objectKeys"], listed["totalItems"]) == ([], 0)
    assert not list((hub.data_dir / "objects").glob("media/**/*"))
    upload(hub, RAW)
    assert hub.get(f"{BASE}/objectKeys", params={"key": "imports/", "keyType": "file"}).json()["totalItems"] == 1
