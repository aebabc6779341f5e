"""Amazon's clients attach files to a running hub: every call, every error, tokens over a restart, keys, proxies, two tenants."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from channels.families import FAMILIES
from hub.core.limits import Limits
from hub.node import Node
from hub.objects.instances import instance_id
from hub.ops.settings import model_of
from hub.storage.transactions import StorageError
from tests.clients.connect import Client, NodeClient, PythonClient, Refused
from tests.conftest import QUIET_CENTRE, QUIET_SIMULATOR, HubFactory
from tests.hub.transports.harness import listening
from tests.support.hub_process import HubProcess
from tests.support.proxies import PlainProxy, ReverseProxy, why_not
from tests.support.puppet import PuppetProcess
from tests.support.s3_server import S3Server

pytestmark = pytest.mark.node

Open = Callable[..., Client]

KEY, SECRET = "AKIAHUBDEMO", "demo-secret"
INSTANCE = instance_id("demo")
CASE = "arn:aws:cases:us-east-1:000000000000:domain/hub/case/4711"
WHERE: Mapping[str, str] = {"InstanceId": INSTANCE, "AssociatedResourceArn": CASE}
NEW: Mapping[str, Any] = {"FileName": "letter.txt", "FileSizeInBytes": 5, "FileUseCaseType": "ATTACHMENT"}
_rivals = itertools.count()
STORES = ["folder", "bucket", "bucket itself"]


@pytest.fixture(scope="module", params=STORES)
def hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """One hub whose files lie in a folder, in a bucket, or in a bucket to which clients upload themselves."""
    environment = dict(QUIET_CENTRE)
    if request.param != "folder":
        server: S3Server = request.getfixturevalue("s3_server")
        settings = server.settings(server.bucket(), direct=json.dumps(request.param == "bucket itself"))
        environment |= {f"HUB_OBJECTS__{name.upper()}": str(value) for name, value in settings.items()}
    made = HubProcess(tmp_path_factory.mktemp("attached"), environment=environment)
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture(params=["boto3", "javascript"])
def open_client(request: pytest.FixtureRequest, shared_process: Callable[[str], PuppetProcess]) -> Open:
    """Makes a client of a hub at a URL; by default with the demo's access key."""

    def open_one(url: str, key: str = KEY, secret: str = SECRET) -> Client:
        if request.param == "boto3":
            return PythonClient(url, key, secret)
        return NodeClient(shared_process("connect.mjs").client(), url, key, secret)

    return open_one


@pytest.fixture
def client(hub: HubProcess, open_client: Open) -> Client:
    return open_client(hub.url)


def refused(client: Client, name: str, **fields: Any) -> Refused:
    """A call that must be refused."""
    with pytest.raises(Refused) as caught:
        client.call(name, **fields)
    assert caught.value.request_id
    return caught.value


def put(file: dict[str, Any], content: bytes) -> httpx.Response:
    """Upload by the link of an announcement."""
    upload = file["UploadUrlMetadata"]
    return httpx.put(upload["Url"], content=content, headers=upload["HeadersToInclude"])


def attach(client: Client, content: bytes = b"hello", where: Mapping[str, str] = WHERE, **fields: Any) -> str:
    """A file that is approved; returns its id."""
    file = client.call("start", **where, **{**NEW, "FileSizeInBytes": len(content), **fields})
    assert put(file, content).status_code == 200
    assert client.call("complete", **where, FileId=file["FileId"]) == {}
    return str(file["FileId"])


def test_a_file_from_beginning_to_end(client: Client) -> None:
    name = "Rechnung \u65e5.txt"
    token = f"token of {type(client).__name__}"
    file = client.call("start", **WHERE, **{**NEW, "FileName": name}, ClientToken=token, Tags={"a b": "\u00fc"}, UrlExpiryInSeconds=60)
    identifier = file["FileId"]
    assert file["FileArn"] == f"arn:aws:connect:us-east-1:000000000000:instance/{INSTANCE}/file/{identifier}"
    assert (file["FileStatus"], file["CreatedBy"]) == ("PROCESSING", {"AWSIdentityArn": f"arn:aws:iam::000000000000:user/{KEY}"})
    moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    assert re.fullmatch(moment, file["CreationTime"])
    assert re.fullmatch(moment, file["UploadUrlMetadata"]["UrlExpiry"])
    assert len(file["UploadUrlMetadata"]["Url"]) <= 2000
    again = client.call("start", **WHERE, **{**NEW, "FileName": name}, ClientToken=token, Tags={"a b": "\u00fc"})
    assert again["FileId"] == identifier

    early = refused(client, "complete", **WHERE, FileId=identifier)
    assert (early.kind, early.status, early.attempts, early.known) == ("InvalidRequestException", 400, 1, True)
    assert "DownloadUrlMetadata" not in client.call("get", **WHERE, FileId=identifier)
    assert put(file, b"hello").status_code == 200
    for _ in range(2):
        assert client.call("complete", **WHERE, FileId=identifier) == {}

    shown = {"UrlContentDisposition": "INLINE"} if isinstance(client, PythonClient) else {}  # the model of the other has no such field
    found = client.call("get", **WHERE, FileId=identifier, UrlExpiryInSeconds=5, **shown)
    link = found.pop("DownloadUrlMetadata")
    assert (found["FileStatus"], found["FileName"], found["FileSizeInBytes"], found["Tags"]) == ("APPROVED", name, 5, {"a b": "\u00fc"})
    assert (found["AssociatedResourceArn"], found["FileUseCaseType"]) == (CASE, "ATTACHMENT")
    downloaded = httpx.get(link["Url"])
    assert downloaded.content == b"hello"
    assert downloaded.headers["content-disposition"].startswith("inline" if shown else "attachment")
    batch = client.call("batch", **WHERE, FileIds=[identifier, "nope"])
    assert batch == {"Files": [found], "Errors": [{"ErrorCode": "404", "ErrorMessage": "no such file of this resource", "FileId": "nope"}]}
    assert client.call("delete", **WHERE, FileId=identifier) == {}
    gone = refused(client, "delete", **WHERE, FileId=identifier)
    assert (gone.kind, gone.status, gone.attempts, gone.known) == ("ResourceNotFoundException", 404, 1, True)
    assert httpx.get(link["Url"]).status_code == 404


def test_a_link_takes_what_was_announced_alone(client: Client) -> None:
    file = client.call("start", **WHERE, **NEW)
    upload = file["UploadUrlMetadata"]
    url, headers = upload["Url"], upload["HeadersToInclude"]
    assert httpx.put(url, content=b"hello!", headers=headers | {"Content-Length": "6"}).status_code in (400, 403)
    assert httpx.put(url, content=b"hello", headers=headers | {"Content-Type": "text/html"}).status_code == 403
    assert httpx.get(url).status_code == 403
    assert put(file, b"hello").status_code == 200
    assert client.call("complete", **WHERE, FileId=file["FileId"]) == {}
    # the bucket takes it, to a place that nobody reads any more
    assert put(file, b"other").status_code == (200 if "X-Amz-Signature" in url else 412)
    link = client.call("get", **WHERE, FileId=file["FileId"])["DownloadUrlMetadata"]
    assert httpx.get(link["Url"]).content == b"hello"


def test_each_error_is_one_that_the_client_knows(client: Client) -> None:
    for fields, kind, status, reason in (
        ({"FileSizeInBytes": 31457280}, "InvalidRequestException", 400, "INVALID_FILE_SIZE"),
        ({"FileName": "run.exe"}, "InvalidRequestException", 400, "INVALID_FILE_TYPE"),
        ({"FileName": "../a.txt"}, "InvalidRequestException", 400, "INVALID_FILE_NAME"),
        ({"FileUseCaseType": "EMAIL_MESSAGE"}, "InvalidRequestException", 400, None),
        ({"AssociatedResourceArn": "no arn"}, "InvalidRequestException", 400, None),
        ({"CreatedBy": {"AWSIdentityArn": "arn:aws:iam::000000000000:user/x"}}, "InvalidRequestException", 400, None),
        ({"InstanceId": "other"}, "ResourceNotFoundException", 404, None),
    ):
        error = refused(client, "start", **{**WHERE, **NEW, **fields})
        found = None if error.reason is None else error.reason.get("AttachedFileInvalidRequestExceptionReason")
        assert (error.kind, error.status, error.attempts, error.known, found) == (kind, status, 1, True, reason), fields
        assert next(iter(fields)) in error.message or status == 404
    client.call("start", **WHERE, **NEW, ClientToken="one")
    conflict = refused(client, "start", **WHERE, **{**NEW, "FileName": "other.txt"}, ClientToken="one")
    assert (conflict.kind, conflict.status, conflict.attempts, conflict.known) == ("ResourceConflictException", 409, 1, True)
    mail = {**WHERE, "AssociatedResourceArn": f"arn:aws:connect:us-east-1:000000000000:instance/i/email/{type(client).__name__}"}
    for _ in range(10):
        client.call("start", **mail, **NEW)
    quota = refused(client, "start", **mail, **NEW)
    assert (quota.kind, quota.status, quota.attempts, quota.known) == ("ServiceQuotaExceededException", 402, 1, True)
    assert quota.reason == {"AttachedFileServiceQuotaExceededExceptionReason": "TOTAL_FILE_COUNT_EXCEEDED"}


@pytest.mark.parametrize("identifier", ["a/b", "a b", "gr\u00fcn", "%7E~%", "'()*!", "\u65e5\u672c", "+&=?#", "x" * 256])
def test_odd_ids_and_resources_are_nothing_that_is_there(client: Client, identifier: str) -> None:
    arn = f"arn:aws:cases:us-east-1:000000000000:domain/{identifier[:99]}/case/ 1"
    for name in ("get", "complete", "delete"):
        error = refused(client, name, InstanceId=INSTANCE, AssociatedResourceArn=arn, FileId=identifier)
        assert (error.kind, error.status) == ("ResourceNotFoundException", 404)
    assert client.call("batch", InstanceId="demo", AssociatedResourceArn=arn, FileIds=[identifier])["Errors"][0]["FileId"] == identifier
    attach(client, where={"InstanceId": "demo", "AssociatedResourceArn": arn})


def test_wrong_secrets_and_unknown_keys(hub: HubProcess, open_client: Open) -> None:
    for key, secret, kind in ((KEY, "wrong", "InvalidSignatureException"), ("AKIAHUBAAAAAAAAAAAAA", SECRET, "UnrecognizedClientException")):
        error = refused(open_client(hub.url, key, secret), "get", **WHERE, FileId="x")
        assert (error.kind, error.status, error.attempts) == (kind, 403, 1)


def test_a_base_url_may_end_in_slashes(hub: HubProcess, open_client: Open) -> None:
    for end in ("/", "//"):
        assert attach(open_client(f"{hub.url}{end}"))


def test_two_tenants_and_the_life_of_a_key(hub: HubProcess, open_client: Open) -> None:
    tenant = f"rival-{next(_rivals)}"
    hub.command("tenant", "add", tenant)
    made = json.loads(hub.command("key", "add", "crm", "--tenant", tenant, "--role", "admin", "--aws", "--json"))
    theirs = {**WHERE, "InstanceId": instance_id(tenant)}
    rival = open_client(hub.url, made["access_key_id"], made["secret_access_key"])
    identifier = attach(rival, where=theirs)
    mine = open_client(hub.url)
    for name in ("get", "complete", "delete"):
        for where in (theirs, WHERE):
            error = refused(mine, name, **where, FileId=identifier)
            assert (error.kind, error.status) == ("ResourceNotFoundException", 404)
    rotated = json.loads(hub.command("key", "rotate", "crm", "--tenant", tenant, "--json"))
    newer = open_client(hub.url, rotated["access_key_id"], rotated["secret_access_key"])
    assert until(lambda: works(newer, theirs, identifier))
    assert until(lambda: not works(rival, theirs, identifier))
    hub.command("key", "remove", "crm", "--tenant", tenant)
    assert until(lambda: not works(newer, theirs, identifier))
    assert refused(newer, "get", **theirs, FileId=identifier).kind == "UnrecognizedClientException"


def works(client: Client, where: Mapping[str, str], identifier: str) -> bool:
    """Whether the credentials of a client are good."""
    try:
        client.call("get", **where, FileId=identifier)
    except Refused as error:
        if error.status != 403:
            raise
        return False
    return True


def until(done: Callable[[], bool], within_s: float = 30.0) -> bool:
    """Try something again until it is so."""
    end = time.monotonic() + within_s
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def test_without_an_sdk(hub: HubProcess) -> None:
    """By bearer token and by API key."""
    query = f"associatedResourceArn={CASE}"
    for headers in ({"Authorization": f"Bearer {hub.token}"}, {"x-api-key": hub.api_key}):
        with httpx.Client(base_url=f"{hub.url}/attached-files/", headers=headers) as http:
            file = http.put(f"demo?{query}", json=dict(NEW)).json()
            assert put(file, b"hello").status_code == 200
            assert http.post(f"demo/{file['FileId']}?{query}").json() == {}
            assert http.get(f"demo/{file['FileId']}?{query}").json()["FileStatus"] == "APPROVED"
            assert http.post(f"demo?{query}", json={"FileIds": [file["FileId"]]}).json()["Errors"] == []
            assert http.delete(f"demo/{file['FileId']}?{query}").json() == {}


def test_a_token_means_the_same_file_after_a_restart(hub_process: HubFactory, open_client: Open) -> None:
    hub = hub_process()
    client = open_client(hub.url)
    first = client.call("start", **WHERE, **NEW, ClientToken="t")
    hub.kill9()
    hub.start()
    second = client.call("start", **WHERE, **NEW, ClientToken="t")
    assert (second["FileId"], second["CreationTime"]) == (first["FileId"], first["CreationTime"])
    assert put(second, b"hello").status_code == 200
    assert client.call("complete", **WHERE, FileId=first["FileId"]) == {}


@pytest.mark.parametrize("program", ["nginx", "haproxy"])
def test_behind_a_proxy_that_keeps_the_host(hub_process: HubFactory, tmp_path: Path, program: str) -> None:
    if why := why_not(program):
        pytest.skip(why)
    hub = hub_process()
    folder = tmp_path / program
    folder.mkdir()
    proxy = ReverseProxy(program, folder, hub.port)
    try:
        client = PythonClient(proxy.url, KEY, SECRET, trust=proxy.certificate)
        file = client.call("start", **WHERE, **NEW)
        assert file["UploadUrlMetadata"]["Url"].startswith(proxy.url)
        process = PuppetProcess("connect.mjs", environment=proxy.environment)
        try:
            found = NodeClient(process.client(), proxy.url, KEY, SECRET).call("get", **WHERE, FileId=file["FileId"])
        finally:
            process.close()
        assert found["FileStatus"] == "PROCESSING"
    finally:
        proxy.close()


@pytest.mark.parametrize("path", ["/", "/hub/"])
def test_behind_a_proxy_that_rewrites_the_host(hub_process: HubFactory, tmp_path: Path, open_client: Open, path: str) -> None:
    if why := why_not("nginx"):
        pytest.skip(why)
    first = hub_process()
    with PlainProxy(tmp_path, first.port, path) as proxy:
        error = refused(open_client(f"{proxy.url}{path}"), "start", **WHERE, **NEW)
        assert error.kind == "InvalidSignatureException"
        first.stop()
        first.environment["HUB_PUBLIC_URL"] = f"{proxy.url}{path}".rstrip("/")
        first.start()
        assert attach(open_client(f"{proxy.url}{path}"))


@pytest.mark.parametrize(
    ("fault", "kind", "status"),
    [(StorageError("away"), "InternalServiceException", 503), (KeyError("odd"), "InternalServiceException", 500)],
)
async def test_what_may_pass_is_tried_three_times(
    tmp_path: Path, open_client: Open, monkeypatch: pytest.MonkeyPatch, fault: Exception, kind: str, status: int
) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr("channels.files.service_files.FileService.start", fails)
    node = Node(model_of(FAMILIES)(data_dir=tmp_path, demo=True, simulator=QUIET_SIMULATOR), FAMILIES)
    async with node._lifespan(None), listening(node.app) as port:
        client = await asyncio.to_thread(open_client, f"http://127.0.0.1:{port}")
        error = await asyncio.to_thread(refused, client, "start", **WHERE, **NEW)
    assert (error.kind, error.status, error.attempts, error.known) == (kind, status, 3, True)


async def test_throttling_is_tried_three_times(tmp_path: Path, open_client: Open) -> None:
    limits = Limits(max_buffered_bytes_per_address=1000)
    node = Node(model_of(FAMILIES)(data_dir=tmp_path, demo=True, simulator=QUIET_SIMULATOR, limits=limits), FAMILIES)
    async with node._lifespan(None), listening(node.app, limits=limits) as port:
        client = await asyncio.to_thread(open_client, f"http://127.0.0.1:{port}")
        tags = {f"key{number}": "v" * 200 for number in range(40)}
        error = await asyncio.to_thread(refused, client, "start", **WHERE, **NEW, Tags=tags)
    assert (error.kind, error.status, error.attempts, error.known) == ("ThrottlingException", 429, 3, True)
