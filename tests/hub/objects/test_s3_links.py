"""Links to an S3 bucket itself, on a server that checks them. First come the tests that show that it does: on one that lets everything
through, the others would prove nothing.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import aiohttp
import httpx
import pytest
from yarl import URL

from hub.objects.open_store import open_store
from hub.objects.settings import ObjectsSettings
from hub.objects.store import ObjectNotFoundError, ObjectStore, StoreLink
from tests.hub.objects.test_store import ODD, put, read
from tests.support.s3_server import S3Server
from tests.world import ManualClock

TYPE = "text/plain"
KEY = "incoming/demo/one"

Client = Callable[[str, StoreLink, bytes], tuple[int, bytes]]
"""Sends a request by a link: method, link, body. Returns status and body of the answer."""


@pytest.fixture
def clock() -> ManualClock:
    """It shows the time of day, which the server compares with its own."""
    return ManualClock(wall=time.time_ns() // 1_000_000)


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> str:
    return s3_server.bucket("links")


@pytest.fixture
def store(s3_server: S3Server, bucket: str, clock: ManualClock, tmp_path: Path) -> ObjectStore:
    settings = ObjectsSettings(**s3_server.settings(bucket, tmp_path.name, direct=True))
    return open_store(settings, tmp_path, clock)


def upload(store: ObjectStore, key: str = KEY, size: int = 5, lasts_s: int = 300) -> StoreLink:
    link = store.sign_put(key, size, TYPE, lasts_s)
    assert link is not None
    return link


def download(store: ObjectStore, key: str = KEY, lasts_s: int = 300) -> StoreLink:
    link = store.sign_get(key, 'attachment; filename="a b.txt"', TYPE, lasts_s)
    assert link is not None
    return link


def by_httpx(method: str, link: StoreLink, body: bytes = b"") -> tuple[int, bytes]:
    answer = httpx.request(method, link.url, headers=dict(link.headers), content=body or None)
    return answer.status_code, answer.content


def by_standard_library(method: str, link: StoreLink, body: bytes = b"") -> tuple[int, bytes]:
    """It sends the URL and the headers as they are."""
    parts = urlsplit(link.url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=20)
    try:
        connection.request(method, f"{parts.path}?{parts.query}", body or None, dict(link.headers))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def changed(
    link: StoreLink, *, key: tuple[str, str] = ("", ""), headers: Mapping[str, str | None] | None = None, **query: str
) -> StoreLink:
    """A link with something else in it: a piece of the path, parameters, or headers (None: without it)."""
    parts = urlsplit(link.url)
    parameters = dict(parse_qsl(parts.query)) | {name.replace("_", "-"): value for name, value in query.items()}
    path = parts.path.replace(*key) if key[0] else parts.path
    sent = {**dict(link.headers), **(headers or {})}
    url = urlunsplit((parts.scheme, parts.netloc, path, urlencode(parameters, quote_via=quote, safe="~"), ""))
    return StoreLink(url, tuple((name, value) for name, value in sent.items() if value is not None))


def code(body: bytes) -> str:
    return body.decode().partition("<Code>")[2].partition("</Code>")[0]


# -- the server refuses what was tampered with -------------------------------------------------------------------------


async def test_the_server_takes_a_link_that_nobody_changed(store: ObjectStore) -> None:
    """So what the next tests change is what makes the difference."""
    same = changed(upload(store))
    assert by_standard_library("PUT", same, b"hello") == (200, b"")
    assert await read(store, KEY) == b"hello"


@pytest.mark.parametrize(
    ("change", "body", "told"),
    [
        ({"key": ("one", "two")}, b"hello", "SignatureDoesNotMatch"),
        ({"headers": {"Content-Type": "text/html"}}, b"hello", "SignatureDoesNotMatch"),
        ({"headers": {"Content-Type": None}}, b"hello", "SignatureDoesNotMatch"),
        ({"headers": {"Content-Length": "6"}}, b"hello!", "SignatureDoesNotMatch"),
        ({"headers": {"Content-Length": "4"}}, b"hell", "SignatureDoesNotMatch"),
        ({"X_Amz_Expires": "301"}, b"hello", "SignatureDoesNotMatch"),
        ({"X_Amz_SignedHeaders": "content-length;host"}, b"hello", "SignatureDoesNotMatch"),
        ({"X_Amz_SignedHeaders": "host", "headers": {"Content-Type": "text/html"}}, b"hello", "SignatureDoesNotMatch"),
        ({"X_Amz_Signature": "0" * 64}, b"hello", "SignatureDoesNotMatch"),
        ({"X_Amz_Date": "20261129T125005Z"}, b"hello", "AuthorizationQueryParametersError"),
        ({"x_id": "PutObject"}, b"hello", "SignatureDoesNotMatch"),
    ],
    ids=str,
)
async def test_the_server_refuses_an_upload_by_a_changed_link(
    store: ObjectStore, change: dict[str, object], body: bytes, told: str
) -> None:
    status, answer = by_standard_library("PUT", changed(upload(store), **change), body)  # type: ignore[arg-type]
    assert (status, code(answer)) == (400 if told == "AuthorizationQueryParametersError" else 403, told)
    for key in (KEY, KEY.replace("one", "two")):
        with pytest.raises(ObjectNotFoundError):
            await store.head(key)


@pytest.mark.parametrize(
    "change",
    [
        {"key": ("one", "two")},
        {"response_content_disposition": "inline"},
        {"response_content_type": "text/html"},
        {"X_Amz_Expires": "3000"},
    ],
    ids=str,
)
async def test_the_server_refuses_a_download_by_a_changed_link(store: ObjectStore, change: dict[str, object]) -> None:
    for key in (KEY, KEY.replace("one", "two")):
        await put(store, key, b"hello")
    status, answer = by_standard_library("GET", changed(download(store), **change))  # type: ignore[arg-type]
    assert (status, code(answer)) == (403, "SignatureDoesNotMatch")


async def test_the_server_refuses_another_method(store: ObjectStore) -> None:
    await put(store, KEY, b"before")
    for method, link in (("GET", upload(store)), ("DELETE", upload(store)), ("DELETE", download(store)), ("PUT", download(store))):
        sent = link if method == "PUT" else StoreLink(link.url)
        status, answer = by_standard_library(method, sent, b"hello" if method == "PUT" else b"")
        assert (status, code(answer)) == (403, "SignatureDoesNotMatch"), method
    assert await read(store, KEY) == b"before"


async def test_the_server_refuses_a_link_that_has_expired(store: ObjectStore, clock: ManualClock) -> None:
    clock.advance(-310)
    old = upload(store)
    assert by_standard_library("PUT", old, b"hello")[0] == 403
    await put(store, KEY, b"before")
    status, answer = by_standard_library("GET", download(store))
    assert (status, code(answer)) == (403, "AccessDenied")
    assert await read(store, KEY) == b"before"


async def test_the_server_refuses_another_secret_and_another_key(
    s3_server: S3Server, bucket: str, clock: ManualClock, tmp_path: Path
) -> None:
    for setting, told in (("secret_access_key", (403, "SignatureDoesNotMatch")), ("access_key_id", (404, "XAdminUserNotFound"))):
        settings = ObjectsSettings(**{**s3_server.settings(bucket, "other", direct=True), setting: "somebody else's"})
        status, answer = by_standard_library("PUT", upload(open_store(settings, tmp_path, clock)), b"hello")
        assert (status, code(answer)) == told, "the server has one access key, and looks for others among its users"


# -- what a link is for works ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", [by_httpx, by_standard_library])
async def test_a_file_goes_up_and_down_by_links(store: ObjectStore, client: Client) -> None:
    assert client("PUT", upload(store), b"hello")[0] == 200
    assert await read(store, KEY) == b"hello"
    assert client("GET", download(store), b"") == (200, b"hello")


async def test_a_file_goes_up_and_down_by_links_with_aiohttp(store: ObjectStore) -> None:
    """It must not encode the URL anew."""
    link = upload(store, "f/a b+%2F")
    async with aiohttp.ClientSession() as session:
        async with session.put(URL(link.url, encoded=True), data=b"hello", headers=dict(link.headers)) as answer:
            assert answer.status == 200
        async with session.get(URL(download(store, "f/a b+%2F").url, encoded=True)) as answer:
            assert await answer.read() == b"hello"


@pytest.mark.parametrize("key", [*ODD, "f/a b/grün #1%.txt"])
async def test_links_lead_to_odd_keys(store: ObjectStore, key: str) -> None:
    assert by_standard_library("PUT", upload(store, key), b"hello")[0] == 200
    assert await read(store, key) == b"hello"
    assert by_standard_library("GET", download(store, key)) == (200, b"hello")


@pytest.mark.parametrize("size", [0, 1, 1_000_000])
async def test_a_link_is_for_one_size(store: ObjectStore, size: int) -> None:
    content = b"x" * size
    link = upload(store, size=size)
    status, answer = by_standard_library("PUT", changed(link, headers={"Content-Length": str(size + 1)}), content + b"x")
    assert (status, code(answer)) == (403, "SignatureDoesNotMatch")
    assert by_standard_library("PUT", link, content)[0] == 200
    assert (await store.head(KEY)).size == size


async def test_a_download_has_the_name_that_was_asked_for(store: ObjectStore) -> None:
    await put(store, KEY, b"hello")
    answer = httpx.get(download(store).url)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="a b.txt"'
    part = httpx.get(download(store).url, headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, b"ell")
    with pytest.raises(ObjectNotFoundError):
        await store.head("none")
    assert httpx.get(download(store, "none").url).status_code == 404


def documented_rules() -> dict[str, list[dict[str, object]]]:
    """The rules that docs/files.md has for a bucket."""
    page = Path(__file__).parents[3] / "docs" / "files.md"
    return json.loads(page.read_text().partition("```json\n")[2].partition("```")[0])  # type: ignore[no-any-return]


async def test_pages_need_the_documented_rules_of_the_bucket(s3_server: S3Server, clock: ManualClock, tmp_path: Path) -> None:
    """Without them no browser sends the upload (docs/files.md#links-to-the-bucket-itself)."""
    bucket = s3_server.bucket("pages")
    store = open_store(ObjectsSettings(**s3_server.settings(bucket, direct=True)), tmp_path, clock)
    link = upload(store)
    asked = {
        "Origin": "https://desk.example.com",
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "content-type",
    }
    assert httpx.options(link.url, headers=asked).status_code == 403
    s3_server.client().put_bucket_cors(Bucket=bucket, CORSConfiguration=documented_rules())
    allowed = httpx.options(link.url, headers=asked)
    assert (allowed.status_code, allowed.headers["Access-Control-Allow-Origin"]) == (200, "https://desk.example.com")
    answer = httpx.put(link.url, content=b"hello", headers={**dict(link.headers), "Origin": asked["Origin"]})
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, "https://desk.example.com")
    assert httpx.options(link.url, headers={**asked, "Origin": "https://elsewhere.example.com"}).status_code == 403
