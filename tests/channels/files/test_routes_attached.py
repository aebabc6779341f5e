"""The calls of Amazon Connect for attached files, on a whole hub: each field, each error, who may call, and what is signed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest

from channels.families import FAMILIES
from hub.audit.log import AuditLog, Recorder
from hub.node import Node
from hub.objects import sigv4
from hub.objects.instances import instance_id
from hub.objects.sigv4 import Credentials, Target
from hub.ops.settings import model_of
from hub.security.access_keys_store import AccessKeysStore
from tests.conftest import QUIET_SIMULATOR

CASE = "arn:aws:cases:us-east-1:000000000000:domain/hub/case/4711"
DEMO = {"Authorization": "Bearer demo-token"}
NEW: Mapping[str, Any] = {"FileName": "report.txt", "FileSizeInBytes": 5, "FileUseCaseType": "ATTACHMENT"}
OURS = Credentials("AKIAHUBDEMO", "demo-secret")


class Calls:
    """A client of one hub."""

    def __init__(self, node: Node, client: httpx.AsyncClient) -> None:
        self.node = node
        self.client = client

    async def call(self, method: str, path: str, body: object = None, arn: str | None = CASE, **more: Any) -> httpx.Response:
        """A call, of the demo's administrator unless ``headers`` are given."""
        query = "" if arn is None else f"?associatedResourceArn={quote(arn, safe='')}"
        more.setdefault("headers", DEMO)
        return await self.client.request(method, f"/attached-files/{path}{query}{more.pop('query', '')}", json=body, **more)

    async def start(self, arn: str = CASE, **fields: Any) -> dict[str, Any]:
        """A file that was announced."""
        answer = await self.call("PUT", "demo", {**NEW, **fields}, arn)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def attached(self, content: bytes = b"hello", arn: str = CASE, **fields: Any) -> dict[str, Any]:
        """A file that is approved."""
        file = await self.start(arn, FileSizeInBytes=len(content), **fields)
        upload = file["UploadUrlMetadata"]
        assert (await self.client.put(upload["Url"], content=content, headers=upload["HeadersToInclude"])).status_code == 200
        assert (await self.call("POST", f"demo/{file['FileId']}", arn=arn)).json() == {}
        return file

    async def refused(self, method: str, path: str, body: object = None, arn: str | None = CASE, **more: Any) -> tuple[int, str, str]:
        """Status, type and text of a call that must be refused."""
        answer = await self.call(method, path, body, arn, **more)
        return error_of(answer)

    def keys(self) -> AccessKeysStore:
        """The access keys of the hub."""
        audit = Recorder(AuditLog(b"secret", self.node.clock.wall_ms))
        return AccessKeysStore(self.node.transactions, self.node.clock.wall_ms, audit, self.node.security.gate.signatures.secrets)

    async def signed(
        self, who: Credentials, method: str, path: str, body: object = None, arn: str = CASE, service: str = "connect", **headers: str
    ) -> httpx.Response:
        """A call that somebody has signed; ``headers`` are added afterwards."""
        content = b"" if body is None else json.dumps(body).encode()
        url = f"http://127.0.0.1:8080/attached-files/{path}?associatedResourceArn={quote(arn, safe='')}"
        sent = sigv4.sign(
            method,
            url,
            {"content-type": "application/json"},
            hashlib.sha256(content).hexdigest(),
            who,
            Target("eu-central-1", service),
            self.node.clock.wall_ms() / 1000,
        )
        return await self.client.request(method, url, content=content, headers={**sent, **headers})


def error_of(answer: httpx.Response) -> tuple[int, str, str]:
    """Status, type and text of an error, which must be whole."""
    body = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-amzn-errortype"] == body["__type"]
    assert answer.headers["x-amzn-requestid"]
    return answer.status_code, body["__type"], body["Message"]


@pytest.fixture
async def calls(tmp_path: Path) -> AsyncIterator[Calls]:
    settings = model_of(FAMILIES)(data_dir=tmp_path, demo=True, simulator=QUIET_SIMULATOR, files={"scanner_url": ""})
    node = Node(settings, FAMILIES)
    transport = httpx.ASGITransport(node.app)
    async with node._lifespan(None), httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
        yield Calls(node, client)


async def test_a_file_from_beginning_to_end(calls: Calls) -> None:
    started = await calls.start(FileName="Rechnung 日.txt", Tags={"a b": "ü"}, ClientToken="t1")
    again = await calls.start(FileName="Rechnung 日.txt", Tags={"a b": "ü"}, ClientToken="t1")
    assert (again["FileId"], started["FileStatus"]) == (started["FileId"], "PROCESSING")
    identifier = started["FileId"]
    arn = f"arn:aws:connect:us-east-1:000000000000:instance/{instance_id('demo')}/file/{identifier}"
    upload = started["UploadUrlMetadata"]
    assert (started["FileArn"], upload["HeadersToInclude"]) == (arn, {"Content-Type": "text/plain", "Content-Length": "5"})
    assert upload["UrlExpiry"].endswith("Z")
    pending = (await calls.call("GET", f"demo/{identifier}")).json()
    assert (pending["FileStatus"], "DownloadUrlMetadata" in pending) == ("PROCESSING", False)
    early = await calls.refused("POST", f"demo/{identifier}")
    assert early[:2] == (400, "InvalidRequestException")
    put = await calls.client.put(upload["Url"], content=b"hello", headers=upload["HeadersToInclude"])
    assert put.status_code == 200
    for _ in range(2):
        assert (await calls.call("POST", f"{instance_id('demo')}/{identifier}")).json() == {}
    got = (await calls.call("GET", f"demo/{identifier}", query="&urlExpiryInSeconds=5&urlContentDisposition=INLINE")).json()
    link = got.pop("DownloadUrlMetadata")
    assert got == {
        "FileArn": arn,
        "FileId": identifier,
        "CreationTime": started["CreationTime"],
        "FileStatus": "APPROVED",
        "FileName": "Rechnung 日.txt",
        "FileSizeInBytes": 5,
        "AssociatedResourceArn": CASE,
        "FileUseCaseType": "ATTACHMENT",
        "CreatedBy": {"AWSIdentityArn": "arn:aws:iam::000000000000:user/demo"},
        "Tags": {"a b": "ü"},
    }
    assert "d=inline" in link["Url"]
    assert (await calls.client.get(link["Url"])).content == b"hello"
    batch = (await calls.call("POST", "demo", {"FileIds": [identifier, "nope"]})).json()
    assert batch == {"Files": [got], "Errors": [{"ErrorCode": "404", "ErrorMessage": "no such file of this resource", "FileId": "nope"}]}
    assert (await calls.call("DELETE", f"demo/{identifier}")).json() == {}
    assert (await calls.refused("DELETE", f"demo/{identifier}"))[:2] == (404, "ResourceNotFoundException")
    assert (await calls.client.get(link["Url"])).status_code == 404


NAME_REASON = {"AttachedFileInvalidRequestExceptionReason": "INVALID_FILE_NAME"}
SIZE_REASON = {"AttachedFileInvalidRequestExceptionReason": "INVALID_FILE_SIZE"}
TYPE_REASON = {"AttachedFileInvalidRequestExceptionReason": "INVALID_FILE_TYPE"}


WRONG: Sequence[tuple[dict[str, Any], str, object]] = [
    ({"FileName": None}, "FileName", None),
    ({"FileName": 5}, "FileName", None),
    ({"FileName": ""}, "FileName", NAME_REASON),
    ({"FileName": "x" * 253 + ".txt"}, "FileName", NAME_REASON),
    ({"FileName": "a\u202egnp.txt"}, "FileName", NAME_REASON),
    ({"FileName": "a\x1b.txt"}, "FileName", NAME_REASON),
    ({"FileName": "../a.txt"}, "FileName", NAME_REASON),
    ({"FileName": "run.exe"}, "FileName", TYPE_REASON),
    ({"FileName": "noend"}, "FileName", TYPE_REASON),
    ({"FileSizeInBytes": None}, "FileSizeInBytes", None),
    ({"FileSizeInBytes": "5"}, "FileSizeInBytes", None),
    ({"FileSizeInBytes": 5.5}, "FileSizeInBytes", None),
    ({"FileSizeInBytes": True}, "FileSizeInBytes", None),
    ({"FileSizeInBytes": 0}, "FileSizeInBytes", SIZE_REASON),
    ({"FileSizeInBytes": -1}, "FileSizeInBytes", SIZE_REASON),
    ({"FileSizeInBytes": 20 * 1024 * 1024 + 1}, "FileSizeInBytes", SIZE_REASON),
    ({"FileSizeInBytes": 10**30}, "FileSizeInBytes", SIZE_REASON),
    ({"UrlExpiryInSeconds": 4}, "UrlExpiryInSeconds", None),
    ({"UrlExpiryInSeconds": 301}, "UrlExpiryInSeconds", None),
    ({"UrlExpiryInSeconds": "60"}, "UrlExpiryInSeconds", None),
    ({"FileUseCaseType": None}, "FileUseCaseType", None),
    ({"FileUseCaseType": "EMAIL_MESSAGE"}, "FileUseCaseType", None),
    ({"FileUseCaseType": "attachment"}, "FileUseCaseType", None),
    ({"ClientToken": "t" * 501}, "ClientToken", None),
    ({"ClientToken": 5}, "ClientToken", None),
    ({"Tags": {}}, "Tags", None),
    ({"Tags": {f"k{number}": "" for number in range(51)}}, "Tags", None),
    ({"Tags": {"": "v"}}, "Tags", None),
    ({"Tags": {"k" * 129: "v"}}, "Tags", None),
    ({"Tags": {"aws:k": "v"}}, "Tags", None),
    ({"Tags": {"k;": "v"}}, "Tags", None),
    ({"Tags": {"k": "v" * 257}}, "Tags", None),
    ({"Tags": {"k": 5}}, "Tags", None),
    ({"CreatedBy": {}}, "CreatedBy", None),
    ({"CreatedBy": {"AWSIdentityArn": "arn:aws:iam::000000000000:user/x"}}, "CreatedBy.AWSIdentityArn", None),
    ({"CreatedBy": {"ConnectUserArn": "ana"}}, "CreatedBy.ConnectUserArn", None),
]


async def test_a_field_that_is_wrong_is_named(calls: Calls) -> None:
    for fields, named, reason in WRONG:
        body = {name: value for name, value in {**NEW, **fields}.items() if value is not None}
        answer = await calls.call("PUT", "demo", body)
        status, kind, text = error_of(answer)
        assert (status, kind, answer.json().get("Reason")) == (400, "InvalidRequestException", reason), fields
        assert text.startswith(named), text


RIGHT: Sequence[dict[str, Any]] = [
    {"FileName": "x" * 252 + ".txt"},
    {"FileName": "報告書.TXT"},
    {"FileSizeInBytes": 1},
    {"FileSizeInBytes": 20 * 1024 * 1024},
    {"UrlExpiryInSeconds": 5},
    {"UrlExpiryInSeconds": 300},
    {"ClientToken": "t" * 500},
    {"ClientToken": ""},
    {"ClientToken": None, "Tags": None, "CreatedBy": None, "UrlExpiryInSeconds": None},
    {"Tags": {f"key {number} _.:/=+-@ é日": "v" * 256 for number in range(50)}},
    {"CreatedBy": {"ConnectUserArn": "arn:aws:connect:us-east-1:000000000000:instance/i/agent/ana"}},
    {"FieldOfANewerClient": {"x": 1}},
]


async def test_what_may_be_is_taken(calls: Calls) -> None:
    for fields in RIGHT:
        started = await calls.start(**fields)
        assert started["CreatedBy"] == (fields.get("CreatedBy") or {"AWSIdentityArn": "arn:aws:iam::000000000000:user/demo"})


REFUSALS: Sequence[tuple[str, str, object, str | None, str, int, str, str]] = [
    ("PUT", "demo", NEW, None, "", 400, "InvalidRequestException", "associatedResourceArn"),
    ("PUT", "demo", NEW, "", "", 400, "InvalidRequestException", "AssociatedResourceArn"),
    ("PUT", "demo", NEW, "arn:aws:cases", "", 400, "InvalidRequestException", "AssociatedResourceArn"),
    ("PUT", "demo", NEW, f"{CASE}{'x' * 500}", "", 400, "InvalidRequestException", "AssociatedResourceArn"),
    ("PUT", "demo", [], CASE, "", 400, "InvalidRequestException", "body"),
    ("PUT", "demo", None, CASE, "", 400, "InvalidRequestException", "body"),
    ("PUT", "x" * 101, NEW, CASE, "", 400, "InvalidRequestException", "InstanceId"),
    ("PUT", "other", NEW, CASE, "", 404, "ResourceNotFoundException", ""),
    ("POST", "demo", {"FileIds": []}, CASE, "", 400, "InvalidRequestException", "FileIds"),
    ("POST", "demo", {"FileIds": ["x"] * 101}, CASE, "", 400, "InvalidRequestException", "FileIds"),
    ("POST", "demo", {"FileIds": ["x" * 257]}, CASE, "", 400, "InvalidRequestException", "FileIds"),
    ("POST", "demo", {"FileIds": [5]}, CASE, "", 400, "InvalidRequestException", "FileIds"),
    ("POST", "demo", {}, CASE, "", 400, "InvalidRequestException", "FileIds"),
    ("POST", "other", {"FileIds": ["x"]}, CASE, "", 404, "ResourceNotFoundException", ""),
    ("GET", "demo/x", None, CASE, "", 404, "ResourceNotFoundException", ""),
    ("GET", "other/x", None, CASE, "", 404, "ResourceNotFoundException", ""),
    ("GET", f"demo/{'x' * 257}", None, CASE, "", 400, "InvalidRequestException", "FileId"),
    ("GET", "demo/x", None, CASE, "&urlExpiryInSeconds=4", 400, "InvalidRequestException", "urlExpiryInSeconds"),
    ("GET", "demo/x", None, CASE, "&urlExpiryInSeconds=301", 400, "InvalidRequestException", "urlExpiryInSeconds"),
    ("GET", "demo/x", None, CASE, "&urlContentDisposition=inline", 400, "InvalidRequestException", "UrlContentDisposition"),
    ("GET", "demo/a%2Fb%20%C3%BC", None, CASE, "", 404, "ResourceNotFoundException", "there is no such file here: 'a/b"),
    ("POST", "other/x", None, CASE, "", 404, "ResourceNotFoundException", ""),
    ("DELETE", "other/x", None, CASE, "", 404, "ResourceNotFoundException", ""),
    ("DELETE", "demo/x", None, "nothing", "", 400, "InvalidRequestException", "AssociatedResourceArn"),
    ("PATCH", "demo/x", None, CASE, "", 405, "InvalidRequestException", "expected DELETE, GET, POST, got PATCH"),
    ("PUT", "demo/x", NEW, CASE, "", 405, "InvalidRequestException", "expected DELETE, GET, POST, got PUT"),
    ("GET", "demo/x/y", None, CASE, "", 404, "ResourceNotFoundException", "there is nothing at"),
    ("PUT", "demo", {**NEW, "x": "y" * 600_000}, CASE, "", 413, "InvalidRequestException", "body"),
]


async def test_each_refusal_of_a_call(calls: Calls) -> None:
    for method, path, body, arn, query, status, kind, named in REFUSALS:
        told = await calls.refused(method, path, body, arn, query=query)
        assert told[:2] == (status, kind), (method, path, told)
        assert told[2].startswith(named), told


async def test_a_token_with_other_fields_is_a_conflict(calls: Calls) -> None:
    await calls.start(ClientToken="t")
    assert (await calls.refused("PUT", "demo", {**NEW, "FileName": "b.txt", "ClientToken": "t"}))[:2] == (409, "ResourceConflictException")


async def test_a_resource_has_so_many_files(calls: Calls) -> None:
    mail = "arn:aws:connect:us-east-1:000000000000:instance/i/email/1"
    for _ in range(10):
        await calls.start(mail)
    answer = await calls.call("PUT", "demo", NEW, mail)
    assert error_of(answer)[:2] == (402, "ServiceQuotaExceededException")
    assert answer.json()["Reason"] == {"AttachedFileServiceQuotaExceededExceptionReason": "TOTAL_FILE_COUNT_EXCEEDED"}


async def test_another_resource_does_not_have_the_file(calls: Calls) -> None:
    file = await calls.attached()
    for method in ("GET", "POST", "DELETE"):
        assert (await calls.refused(method, f"demo/{file['FileId']}", arn=f"{CASE}1"))[:2] == (404, "ResourceNotFoundException")
    batch = (await calls.call("POST", "demo", {"FileIds": [file["FileId"]]}, f"{CASE}1")).json()
    assert (batch["Files"], batch["Errors"][0]["FileId"]) == ([], file["FileId"])


async def test_content_of_another_type_is_rejected_and_has_no_link(calls: Calls) -> None:
    file = await calls.attached(b"\x89PNG\r\n\x1a\n" + bytes(20), FileName="not-text.txt")
    got = (await calls.call("GET", f"demo/{file['FileId']}")).json()
    assert (got["FileStatus"], "DownloadUrlMetadata" in got) == ("REJECTED", False)


async def test_a_file_of_a_contact_belongs_to_the_interaction(calls: Calls) -> None:
    contact = f"arn:aws:connect:us-east-1:000000000000:instance/{instance_id('demo')}/contact/4712"
    await calls.attached(arn=contact)
    rows = await calls.node.transactions.read(lambda tx: tx.rows("SELECT interaction_id FROM files"))
    assert rows == [("4712",)]


async def test_who_may_call(calls: Calls) -> None:
    store = calls.node.security.store
    await store.add_tenant("rival")
    rival = {"Authorization": f"Bearer {(await store.add_token('rival', 'boss', ['admin']))[1]}"}
    viewer = {"Authorization": f"Bearer {(await store.add_token('demo', 'ana', ['dashboard']))[1]}"}
    file = await calls.attached()
    path = f"demo/{file['FileId']}"
    for method, where, body in (("PUT", "demo", NEW), ("POST", "demo", {"FileIds": ["x"]}), ("GET", path, None), ("DELETE", path, None)):
        assert (await calls.refused(method, where, body, headers=viewer))[:2] == (403, "AccessDeniedException")
        assert (await calls.refused(method, where, body, headers=rival))[:2] == (404, "ResourceNotFoundException")
        assert (await calls.refused(method, where, body, headers={}))[:2] == (401, "MissingAuthenticationTokenException")
        assert (await calls.refused(method, where, body, headers={"Authorization": "Bearer x"}))[:2] == (401, "UnrecognizedClientException")
        assert (await calls.refused(method, where, body, headers={"x-api-key": "x"}))[:2] == (403, "UnrecognizedClientException")
    assert (await calls.refused("GET", f"rival/{file['FileId']}", headers=rival))[:2] == (404, "ResourceNotFoundException")
    assert (await calls.call("GET", path, headers={"x-api-key": "demo-key"})).status_code == 200


async def test_who_signs_is_let_in(calls: Calls) -> None:
    answer = await calls.signed(OURS, "PUT", "demo", NEW)
    assert answer.json()["CreatedBy"] == {"AWSIdentityArn": "arn:aws:iam::000000000000:user/AKIAHUBDEMO"}
    identifier = answer.json()["FileId"]
    assert (await calls.signed(OURS, "GET", f"demo/{identifier}")).status_code == 200
    assert (await calls.signed(OURS, "GET", "demo/..")).status_code == 404
    assert error_of(await calls.signed(OURS._replace(secret="x"), "GET", "demo/x"))[:2] == (403, "InvalidSignatureException")
    assert error_of(await calls.signed(Credentials("AKIAHUBAAAAAAAAAAAAA", "x"), "GET", "demo/x"))[:2] == (
        403,
        "UnrecognizedClientException",
    )
    assert error_of(await calls.signed(OURS, "GET", "demo/x", service="s3"))[:2] == (403, "InvalidSignatureException")
    assert error_of(await calls.signed(OURS, "GET", "demo/x", **{"x-amz-meta-a": "1"}))[:2] == (403, "InvalidSignatureException")
    twice = await calls.signed(OURS, "GET", "demo/x", **{"x-amz-date": "20200101T000000Z"})
    assert error_of(twice)[:2] == (403, "IncompleteSignatureException")
    assert (await calls.signed(OURS, "GET", "demo/x", **{"x-api-key": "demo-key"})).status_code == 404


async def test_a_signed_request_is_carried_out_as_it_was_signed(calls: Calls) -> None:
    """Whoever may change it on its way must not have it work on something else."""
    plus, blank = (CASE.rpartition("/")[0] + name for name in ("/x+y", "/x y"))
    ours = (await calls.signed(OURS, "PUT", "demo", NEW, plus)).json()["FileId"]
    other = (await calls.signed(OURS, "PUT", "demo", NEW, blank)).json()["FileId"]
    good = (await calls.signed(OURS, "GET", f"demo/{ours}", arn=plus)).request
    changed = str(good.url).replace("%2B", "+")
    assert "x+y" in changed
    answer = await calls.client.send(calls.client.build_request("GET", changed, headers=good.headers))
    assert answer.json()["FileId"] == ours
    elsewhere = (await calls.signed(OURS, "GET", f"demo/{other}", arn=plus)).request
    answer = await calls.client.get(str(elsewhere.url).replace("%2B", "+"), headers=elsewhere.headers)
    assert answer.status_code == 404
    twice = "&".join(f"associatedResourceArn={quote(each, safe='')}" for each in (plus, blank))
    url = f"http://127.0.0.1:8080/attached-files/demo/{ours}?{twice}"
    nothing = hashlib.sha256(b"").hexdigest()
    sent = sigv4.sign("GET", url, {}, nothing, OURS, Target("eu-central-1", "connect"), calls.node.clock.wall_ms() / 1000)
    status, _, text = error_of(await calls.client.get(url, headers=sent))
    assert (status, "associatedResourceArn: expected one, got more" in text) == (400, True)


async def test_two_credentials_in_one_header_are_refused(calls: Calls) -> None:
    good = (await calls.signed(OURS, "GET", "demo/x")).request
    for other in ("Bearer demo-token", good.headers["Authorization"], "AWS4-HMAC-SHA256 x"):
        for lines in ([*good.headers.multi_items(), ("Authorization", other)], [("Authorization", other), *good.headers.multi_items()]):
            answer = await calls.client.get(str(good.url), headers=lines)
            assert error_of(answer)[:2] == (403, "IncompleteSignatureException")


async def test_a_request_may_come_again(calls: Calls) -> None:
    good = (await calls.signed(OURS, "PUT", "demo", {**NEW, "ClientToken": "once"})).request
    answers = [
        await calls.client.send(calls.client.build_request("PUT", good.url, headers=good.headers, content=good.content)) for _ in "12"
    ]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["FileId"] for answer in answers}) == 1


async def test_an_unknown_key_is_refused_before_the_body_is_read(calls: Calls) -> None:
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    sent = sigv4.sign(
        "PUT",
        "http://127.0.0.1:8080/attached-files/demo",
        {},
        "0" * 64,
        Credentials("AKIAHUBAAAAAAAAAAAAA", "x"),
        Target("r", "connect"),
        calls.node.clock.wall_ms() / 1000,
    )
    answer = await calls.client.put("/attached-files/demo", content=never(), headers=sent)
    assert error_of(answer)[:2] == (403, "UnrecognizedClientException")


async def test_keys_of_tenants_their_rotation_and_removal(calls: Calls) -> None:
    store, gate = calls.node.security.store, calls.node.security.gate
    await store.add_tenant("rival")
    ours, secret = await calls.keys().add("demo", "crm", ["admin"])
    theirs, other = await calls.keys().add("rival", "crm", ["admin"])
    _, rivals_key = await store.add_key("rival", "api", ["admin"])
    await gate.refresh()
    mine = Credentials(ours.id, secret)
    for key in (rivals_key, "nobody's"):
        assert error_of(await calls.signed(mine, "GET", "demo/x", **{"x-api-key": key}))[0] == 403
    file = (await calls.signed(mine, "PUT", "demo", NEW)).json()
    assert file["CreatedBy"] == {"AWSIdentityArn": f"arn:aws:iam::000000000000:user/{ours.id}"}
    assert error_of(await calls.signed(Credentials(theirs.id, other), "GET", f"demo/{file['FileId']}"))[0] == 404
    assert error_of(await calls.signed(Credentials(theirs.id, other), "GET", f"rival/{file['FileId']}"))[0] == 404
    _, new = await calls.keys().rotate("demo", "crm")
    await gate.refresh()
    assert error_of(await calls.signed(mine, "GET", f"demo/{file['FileId']}"))[1] == "InvalidSignatureException"
    assert (await calls.signed(mine._replace(secret=new), "GET", f"demo/{file['FileId']}")).status_code == 200
    await store.remove_key("demo", "crm")
    await gate.refresh()
    assert error_of(await calls.signed(mine._replace(secret=new), "GET", f"demo/{file['FileId']}"))[1] == "UnrecognizedClientException"


async def test_whose_a_file_is(calls: Calls) -> None:
    ours, secret = await calls.keys().add("demo", "crm", ["admin"])
    await calls.node.security.gate.refresh()
    agent = "arn:aws:connect:us-east-1:000000000000:instance/i/agent"
    for creator in (None, {"ConnectUserArn": f"{agent}/J\u00fcrgen"}, {"ConnectUserArn": f"{agent}-group/ana"}):
        answer = await calls.signed(Credentials(ours.id, secret), "PUT", "demo", {**NEW, **({"CreatedBy": creator} if creator else {})})
        assert answer.status_code == 200, answer.text
    rows = await calls.node.transactions.read(lambda tx: tx.rows("SELECT creator FROM files ORDER BY number DESC LIMIT 3"))
    assert [row[0] for row in reversed(rows)] == ["key:crm", "J\u00fcrgen", None], "the subject of an access key, not its id"


async def test_elsewhere_a_signature_is_a_bad_token(calls: Calls) -> None:
    sent = sigv4.sign(
        "GET",
        "http://127.0.0.1:8080/api/v1/keys",
        {},
        hashlib.sha256(b"").hexdigest(),
        OURS,
        Target("r", "connect"),
        calls.node.clock.wall_ms() / 1000,
    )
    answer = await calls.client.get("/api/v1/keys", headers=sent)
    assert (answer.status_code, answer.json()["status"]["code"]) == (401, 401)


async def test_two_slashes_before_the_path(calls: Calls) -> None:
    file = await calls.start()
    answer = await calls.client.get(
        f"http://127.0.0.1:8080//attached-files/demo/{file['FileId']}?associatedResourceArn={quote(CASE)}", headers=DEMO
    )
    assert (answer.status_code, urlsplit(str(answer.request.url)).path[:2]) == (200, "//")


async def test_participants_errors_have_their_names(calls: Calls) -> None:
    answer = await calls.client.post("/participant/nothing", json={})
    assert error_of(answer)[:2] == (404, "ValidationException")


async def test_a_page_of_another_site_may_send_what_amazons_clients_send(tmp_path: Path) -> None:
    settings = model_of(FAMILIES)(data_dir=tmp_path, allowed_origins=["https://crm.example"])
    node = Node(settings, FAMILIES)
    asked = "authorization,content-type,x-amz-bearer,x-amz-content-sha256,x-amz-date,x-amz-user-agent,amz-sdk-invocation-id,amz-sdk-request"
    preflight = {"Origin": "https://crm.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": asked}
    async with (
        node._lifespan(None),
        httpx.AsyncClient(transport=httpx.ASGITransport(node.app), base_url="http://127.0.0.1:8080") as client,
    ):
        for path in ("/attached-files/demo", "/participant/connection"):
            assert (await client.options(path, headers=preflight)).status_code == 200
            read = await client.get(path, headers={"Origin": "https://crm.example"})
            exposed = {each.strip() for each in read.headers["access-control-expose-headers"].split(",")}
            assert {"x-amzn-errortype", "x-amzn-requestid", "ETag", "Retry-After"} <= exposed
        put = {**preflight, "Access-Control-Request-Method": "PUT"}
        assert (await client.options("/attached-files/demo", headers=put)).status_code == 200, "by which files are announced"
        assert (await client.options("/api/v1/keys", headers=preflight)).status_code == 400
