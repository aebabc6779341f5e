"""What is refused: every field, every parameter, every code, always in the shape of this family."""

from __future__ import annotations

import base64
import json
import re
import uuid
from typing import Any

import pytest

from hub.security.cookies import SIGN_IN_COOKIE, CookieSigner
from hub.security.credentials import hash_secret
from hub.storage.transactions import StorageError
from tests.channels.secure_email.support import ANA, CALLERS, DESK, MAILS, PDF, PNG, Office, attached
from tests.support.rest import Clock, Lookup

NOBODY = str(uuid.UUID(int=7))


async def refusal(office: Office, method: str, url: str, **more: Any) -> tuple[int, str, str, str]:
    """(HTTP status, code, detail, message) of a call that is refused; checks the shape of the answer."""
    response = await office.call(method, url, **more)
    answer = response.json()
    assert set(answer) == {"referenceId", "operationId", "status"}, answer
    assert set(answer["status"]) == {"code", "message", "detail"}
    assert all(isinstance(value, str) for value in answer["status"].values())
    assert response.headers["content-type"] == "application/json"
    status = answer["status"]
    return response.status_code, status["code"], status["detail"], status["message"]


# -- parameters ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/count"])
@pytest.mark.parametrize(
    ("query", "field", "said"),
    [
        ("", "address", "address: expected a value (in the query), got nothing"),
        ("address=", "address", 'address: expected an e-mail address of at most 254 characters, got ""'),
        ("address=ana", "address", 'address: expected an e-mail address of at most 254 characters, got "ana"'),
        ("address=ana@", "address", 'address: expected an e-mail address of at most 254 characters, got "ana@"'),
        ("address=a%00a@example.com", "address", "address: expected an e-mail address of at most 254 characters"),
        (
            "address=ana+box@example.com",
            "address",
            'address: expected an e-mail address of at most 254 characters, with + written as %2B, got "ana box@',
        ),
        (f"address={'a' * 255}@b", "address", "address: expected an e-mail address of at most 254 characters, got"),
        (f"address={ANA}&status=seen", "status", "status: expected 'all', 'read' or 'unread', got \"seen\""),
        (f"address={ANA}&status=Read", "status", "status: expected 'all', 'read' or 'unread', got \"Read\""),
        (f"address={ANA}&securebox=ab", "securebox", 'securebox: expected 3 to 16 of A-Z, a-z, 0-9, got "ab"'),
        (f"address={ANA}&securebox={'a' * 17}", "securebox", "securebox: expected 3 to 16 of A-Z, a-z, 0-9"),
        (f"address={ANA}&securebox=a-b-c", "securebox", "securebox: expected 3 to 16 of A-Z, a-z, 0-9"),
        (f"address={ANA}&securebox=abc%0A", "securebox", "securebox: expected 3 to 16 of A-Z, a-z, 0-9"),
        (f"address={ANA}&direction=up", "direction", "direction: expected 'all', 'inbound' or 'outbound', got \"up\""),
    ],
)
async def test_parameters_of_mailboxes(light: Office, path: str, query: str, field: str, said: str) -> None:
    status, code, detail, message = await refusal(light, "GET", f"{MAILS}{path}?{query}")
    assert (status, code, detail) == (400, "INVALID_PARAMETER", field)
    assert message.startswith(said)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("index=-1", "index"),
        ("index=x", "index"),
        ("index=1.5", "index"),
        ("index=2147483648", "index"),
        ("count=-1", "count"),
        ("count=1001", "count"),
        (f"count={'9' * 400}", "count"),
    ],
)
async def test_parameters_of_pages(light: Office, query: str, field: str) -> None:
    status, code, detail, message = await refusal(light, "GET", f"{MAILS}?address={ANA}&{query}")
    assert (status, code, detail) == (400, "INVALID_PARAMETER", field)
    assert message.startswith(f"{field}: expected ")


async def test_the_last_index_is_taken(light: Office) -> None:
    assert await light.subjects(index=2_147_483_647, count=1000) == []


@pytest.mark.parametrize("identifier", [NOBODY, "x", "%00", "..%2f..", "a" * 5000, NOBODY[:-1], f"{{{NOBODY}}}", "%F0%9F%92%A9" * 9])
async def test_mails_that_are_not_there(light: Office, identifier: str) -> None:
    for method, path in (("GET", ""), ("GET", "?read=true"), ("DELETE", ""), ("DELETE", "?remove=purge"), ("GET", "/userdata")):
        status, code, _, _ = await refusal(light, method, f"{MAILS}/{identifier}{path}")
        assert status == 404
        assert code in {"INVALID_PARAMETER", "INVALID_ENDPOINT"}  # a slash makes it a path of its own
    assert (await light.call("GET", f"{MAILS}/{NOBODY}/attachments/1")).status_code == 404


async def test_ids_are_the_same_in_any_case(light: Office) -> None:
    identifier = await light.send()
    assert (await light.mail(identifier.upper()))["secureMailId"] == identifier


@pytest.mark.parametrize(("query", "field"), [("read=maybe", "read"), ("attachments=some", "attachments")])
async def test_parameters_of_reading(light: Office, query: str, field: str) -> None:
    identifier = await light.send()
    assert (await refusal(light, "GET", f"{MAILS}/{identifier}?{query}"))[:3] == (400, "INVALID_PARAMETER", field)
    assert (await light.mail(identifier))["status"] == "unread"


@pytest.mark.parametrize("remove", ["Purge", "false", "unread", "all", "\\\\", "read,purge"])
async def test_removals_that_are_none(light: Office, remove: str) -> None:
    identifier = await light.send()
    response = await light.call("DELETE", f"{MAILS}/{identifier}", params={"remove": remove})
    assert (response.status_code, response.json()["status"]["detail"]) == (400, "remove")
    assert (await light.mail(identifier))["status"] == "unread"


# -- bodies -------------------------------------------------------------------------------------------------------------

PERSON = "INVALID_PARTICIPANT"
NAME = "INVALID_NICKNAME"
FILE = "INVALID_FILE_TYPE"
WRONG = "INVALID_PARAMETER"


@pytest.mark.parametrize(
    ("data", "code", "field", "said"),
    [
        ({"from": None}, PERSON, "data.from", "the consumer's e-mail address, got nothing"),
        ({"from": "Ana"}, PERSON, "data.from", 'an e-mail address of at most 254 characters, got "Ana"'),
        ({"from": "Ana <ana@example.com>"}, PERSON, "data.from", "an e-mail address of at most 254 characters"),
        ({"from": "a\r\nb@example.com"}, PERSON, "data.from", "an e-mail address of at most 254 characters"),
        ({"from": ["a@b.example", "c@d.example"]}, PERSON, "data.from", "an e-mail address of at most 254 characters"),
        ({"from": 5}, PERSON, "data.from", "an e-mail address of at most 254 characters, got 5"),
        ({"address": "bob@example.com"}, WRONG, "data.address", "the same as data.from"),
        ({"to": "nobody"}, PERSON, "data.to", "an e-mail address of at most 254 characters"),
        ({"fromName": ""}, NAME, "data.fromName", "text of 1 to 255 characters in one line"),
        ({"fromName": "a\nb"}, NAME, "data.fromName", "text of 1 to 255 characters in one line"),
        ({"nickname": "n" * 256}, NAME, "data.nickname", "text of 1 to 255 characters in one line"),
        ({"nickname": {}}, NAME, "data.nickname", "text of 1 to 255 characters in one line, got {}"),
        ({"subject": "a\r\nBcc: x"}, WRONG, "data.subject", "text of 0 to 998 characters in one line"),
        ({"subject": "s" * 999}, WRONG, "data.subject", "text of 0 to 998 characters in one line"),
        ({"subject": 1}, WRONG, "data.subject", "text of 0 to 998 characters in one line, got 1"),
        ({"text": 1}, WRONG, "data.text", "text, got 1"),
        ({"text": "a\x00b"}, WRONG, "data.text", "text, got a NUL character at 1"),
        ({"html": ["<b>"]}, WRONG, "data.html", 'text, got ["<b>"]'),
        ({"content": "another"}, WRONG, "data.content", "the same as data.text"),
        ({"inReplyTo": "x"}, WRONG, "data.inReplyTo", 'the secureMailId that is answered, got "x"'),
        ({"inReplyTo": 5}, WRONG, "data.inReplyTo", "the secureMailId that is answered, got 5"),
        ({"inReplyTo": NOBODY}, WRONG, "data.inReplyTo", "a secure e-mail of this mailbox"),
        ({"userData": "x"}, WRONG, "data.userData", 'an object, got "x"'),
        ({"userData": []}, WRONG, "data.userData", "an object, got []"),
        ({"userData": {"k" * 256: 1}}, WRONG, "data.userData", "keys of at most 255 characters"),
        ({"attachments": {}}, WRONG, "data.attachments", "a list, got {}"),
        ({"attachments": ["x"]}, WRONG, "data.attachments[0]", "an object with filename, contentType and content"),
        ({"attachments": [attached(), {"content": ""}]}, WRONG, "data.attachments[1].filename", "a name of 1 to 255 characters"),
        *(
            ({"attachments": [attached(name)]}, WRONG, "data.attachments[0].filename", "a name of 1 to 255 characters without folders")
            for name in ("", ".", "..", "../a.png", "a\\b.png", "a\x00.png", "a\n.png", " a.png", "a.png.", "a" * 256, "a\u202egnp.exe")
        ),
        ({"attachments": [attached(contentType=5)]}, WRONG, "data.attachments[0].contentType", "a type such as application/pdf, got 5"),
        ({"attachments": [{"filename": "a.png"}]}, WRONG, "data.attachments[0].content", "the file in base64, got null"),
        ({"attachments": [{"filename": "a", "content": "%%%%"}]}, WRONG, "data.attachments[0].content", "base64, got a fault"),
        ({"attachments": [{"filename": "a", "content": "iVBOR"}]}, WRONG, "data.attachments[0].content", "base64, got a fault"),
        ({"attachments": [{"filename": "a", "content": "\u00fc"}]}, WRONG, "data.attachments[0].content", "base64, got characters outside"),
        (
            {"attachments": [attached(contentType="image/jpeg")]},
            FILE,
            "data.attachments[0].contentType",
            "image/png, as the content has it",
        ),
        ({"attachments": [attached("a.exe", b"MZ\x90\x00")]}, FILE, "data.attachments[0].filename", "a name that nothing runs"),
        ({"attachments": [attached("a.pdf", b"MZ\x90\x00")]}, FILE, "data.attachments[0].content", "one of "),
        ({"attachments": [attached("a.txt", b"<script>")]}, FILE, "data.attachments[0].content", "one of "),
    ],
)
async def test_fields_of_a_mail(light: Office, data: dict[str, Any], code: str, field: str, said: str) -> None:
    body = {"data": {"from": ANA, "text": "Hello", **data}, "operationId": "op"}
    status, got, detail, message = await refusal(light, "POST", MAILS, json=body)
    assert (status, got, detail) == (400, code, field)
    assert message.startswith(f"{field}: expected {said}")
    assert await light.count() == 0


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"text": "x" * 2000}, "data.text"),
        ({"html": "\u00fc" * 600}, "data.html"),
        ({"userData": {"a": "x" * 200}}, "data.userData"),
        ({"field": "x" * 200}, "data.userData"),
        ({"attachments": [attached()] * 3}, "data.attachments"),
        ({"attachments": [attached(content=PNG + bytes(100))]}, "data.attachments[0].content"),
        ({"attachments": [attached(content=PNG + bytes(8000))]}, "body"),
    ],
)
@pytest.mark.parametrize(
    "light",
    [{"max_text_bytes": 1024, "max_user_data_bytes": 100, "max_attachments": 2, "max_attachment_bytes": 100, "max_body_bytes": 8000}],
    indirect=True,
)
async def test_more_than_may_be_sent(light: Office, data: dict[str, Any], field: str) -> None:
    status, code, detail, message = await refusal(light, "POST", MAILS, json={"data": {"from": ANA, **data}})
    assert (status, code, detail) == (413, "INVALID_PARAMETER", field)
    assert re.fullmatch(rf"{re.escape(field)}: expected at most \d+( bytes)?( as JSON)?, got (\d+|more)", message), message


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        (b"", "body", "JSON text"),
        (b"{", "body", "JSON text"),
        (b"\x00\xff", "body", "UTF-8"),
        (b"\xef\xbb\xbf{}", "body", "JSON text, got a byte order mark"),
        (b"[]", "body", "a JSON object, got []"),
        (b"5", "body", "a JSON object, got 5"),
        (b"null", "body", "a JSON object, got null"),
        (b"{}", "data", "an object: what is to be sent, got nothing"),
        (b'{"data":null}', "data", "an object: what is to be sent, got null"),
        (b'{"data":"x"}', "data", "an object: what is to be sent"),
        (b'{"data":{}}', "data.from", "the consumer's e-mail address"),
        (b'{"data":{"from":"ana@example.com"}}', "data", "something to send"),
        (b'{"data":{"from":"ana@example.com","subject":""}}', "data", "something to send"),
        (b'{"data":{"from":"ana@example.com","n":1e400}}', "body", "numbers that a double holds"),
        (b'{"data":{"from":"ana@example.com","n":NaN}}', "body", "JSON text"),
        (b'{"operationId":5,"data":{}}', "operationId", "text of 1 to 255 characters in one line, got 5"),
        (b'{"operationId":"","data":{}}', "operationId", "text of 1 to 255 characters in one line"),
        (b'{"data":' + b"[" * 100_000, "body", "at most 64 levels"),
        (b'{"data":{"a":' * 100 + b"1" + b"}}" * 100, "body", "at most 64 levels"),
    ],
)
async def test_bodies_that_are_none(light: Office, body: bytes, field: str, said: str) -> None:
    for url in (MAILS, DESK):
        response = await light.call("POST", url, content=body, headers={"Content-Type": "application/json"})
        assert response.status_code == 400
        if url == MAILS:
            assert response.json()["status"]["detail"] == field
            assert response.json()["status"]["message"].startswith(f"{field}: expected {said}")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
async def test_bodies_that_are_no_json_by_their_headers(light: Office, headers: dict[str, str]) -> None:
    body = json.dumps({"data": {"from": ANA, "text": "x"}}).encode()
    assert (await refusal(light, "POST", MAILS, content=body, headers=headers))[:2] == (415, "INVALID_TRANSPORT")
    assert (await light.call("POST", DESK, content=body, headers=headers)).json()["status"]["code"] == 415


@pytest.mark.parametrize("kind", ["application/json; charset=UTF-8", "Application/JSON", "application/vnd.api+json", None])
async def test_bodies_that_are_json(light: Office, kind: str | None) -> None:
    body = json.dumps({"data": {"address": ANA, "body": "x"}}).encode()
    response = await light.call("POST", MAILS, content=body, headers={"Content-Type": kind} if kind else {})
    assert response.status_code == 200


async def test_a_wrong_securebox_of_a_mail(light: Office) -> None:
    for url in (MAILS, DESK):
        response = await light.call("POST", f"{url}?securebox=a_b", json={"data": {"from": ANA, "to": ANA, "text": "x"}})
        assert response.status_code == 400
    assert await light.count() == 0


async def test_an_operation_id_comes_back_with_what_is_refused(light: Office) -> None:
    response = await light.call("POST", MAILS, json={"operationId": "op-7", "data": {"from": "x"}})
    assert response.json()["operationId"] == "op-7"


@pytest.mark.parametrize(
    ("data", "code", "field"),
    [
        ({"text": "x"}, 400, "data.to"),
        ({"to": "x", "text": "x"}, 400, "data.to"),
        ({"to": ANA, "toName": "", "text": "x"}, 400, "data.toName"),
        ({"to": ANA, "attachments": [attached("a.bat", b"x")]}, 400, "data.attachments[0].filename"),
        ({"to": ANA, "text": "two megabytes"}, 413, "data.text"),
    ],
)
async def test_fields_of_an_outbound_mail_are_refused_in_the_common_envelope(
    light: Office, data: dict[str, Any], code: int, field: str
) -> None:
    content = {**data, "text": "x" * 2_000_000} if data.get("text") == "two megabytes" else data
    response = await light.call("POST", DESK, json={"data": content})
    assert (response.status_code, response.json()["status"]["code"]) == (code, code)
    assert response.json()["status"]["detail"]["field"] == field
    assert light.mails.counters.refused == 1


# -- userdata -----------------------------------------------------------------------------------------------------------


async def test_fields_that_nobody_knows_are_those_of_a_form(light: Office) -> None:
    identifier = await light.send(firstName="Ana", amount=12.50, tags=["a", None], empty=None, userData={"firstName": "Anna", "_x": 1})
    assert (await light.get(f"{MAILS}/{identifier}/userdata"))["data"] == {"firstName": "Anna", "amount": 12.5, "tags": ["a", None]}


async def test_numbers_of_userdata_are_the_senders_own(light: Office) -> None:
    body = f'{{"data":{{"from":"{ANA}","userData":{{"price":1.10,"big":123456789012345678901234567890,"\\u00fc":"\\ud83d"}}}}}}'
    sent = await light.call("POST", MAILS, content=body.encode(), headers={"Content-Type": "application/json"})
    response = await light.call("GET", f"{MAILS}/{sent.json()['secureMailId']}/userdata")
    assert b'"data":{"price":1.10,"big":123456789012345678901234567890,"\\u00fc":"\\ufffd"}' in response.content


# -- who may ------------------------------------------------------------------------------------------------------------

CALLS = [
    ("GET", f"{MAILS}?address={ANA}", "read"),
    ("GET", f"{MAILS}/count?address={ANA}", "read"),
    ("GET", f"{MAILS}/{NOBODY}", "read"),
    ("GET", f"{MAILS}/{NOBODY}/userdata", "read"),
    ("GET", f"{MAILS}/{NOBODY}/attachments/1", "read"),
    ("GET", f"{MAILS}/{NOBODY}?read=true", "write"),
    ("DELETE", f"{MAILS}/{NOBODY}", "write"),
    ("POST", MAILS, "write"),
]


@pytest.mark.parametrize(("method", "url", "grant"), CALLS)
async def test_who_may_not(light: Office, method: str, url: str, grant: str) -> None:
    assert (await refusal(light, method, url, caller=""))[:2] == (401, "INVALID_CLIENT_TOKEN")
    assert (await refusal(light, method, url, caller="nobody"))[:2] == (401, "INVALID_CLIENT_TOKEN")
    assert (await refusal(light, method, url, caller="wall"))[:2] == (403, "INVALID_CLIENT_TOKEN")
    viewer = await light.call(method, url, caller="viewer")
    assert (viewer.status_code == 403) == (grant == "write")


async def test_who_reads_may_not_mark_as_read(light: Office) -> None:
    identifier = await light.send()
    assert (await refusal(light, "GET", f"{MAILS}/{identifier}?read=true", caller="viewer"))[0] == 403
    assert (await light.mail(identifier))["status"] == "unread"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
    ],
)
async def test_a_link_of_another_site_marks_nothing_as_read(light: Office, headers: dict[str, str], status: int) -> None:
    identifier = await light.send()
    credential = await Lookup(CALLERS).by_token(hash_secret("desk"))
    assert credential is not None
    cookie = CookieSigner(b"0" * 32, Clock(), lifetime_s=3600).sign(credential)
    by_cookie = {"Cookie": f"{SIGN_IN_COOKIE}={cookie}", **headers}
    assert (await light.call("GET", f"{MAILS}/{identifier}", caller="", headers=by_cookie)).status_code == 200
    answer = await light.call("GET", f"{MAILS}/{identifier}?read=true", caller="", headers=by_cookie)
    assert answer.status_code == status, answer.text
    assert (await light.mail(identifier))["status"] == ("read" if status == 200 else "unread")


async def test_a_portal_may_not_speak_for_the_contact_centre(light: Office) -> None:
    response = await light.call("POST", DESK, caller="portal", json={"data": {"to": ANA, "text": "x"}})
    assert (response.status_code, response.json()["status"]["code"]) == (403, 403)


async def test_keys_and_other_credentials(light: Office) -> None:
    async with light.client("", **{"x-api-key": "portal"}) as client:
        assert (await client.get(MAILS, params={"address": ANA})).status_code == 200
    async with light.client("", **{"x-api-key": "nobody"}) as client:
        response = await client.get(MAILS, params={"address": ANA})
        assert (response.status_code, response.json()) == (403, {"message": "Forbidden"})
    async with light.client("portal", **{"x-api-key": "foreign"}) as client:
        response = await client.get(MAILS, params={"address": ANA})
        assert (response.status_code, response.json()["status"]["code"]) == (403, "INVALID_CONTACT_CENTER")
    async with light.client("", Cookie="HUB_SESSION=x", Origin="https://evil.example") as client:
        response = await client.get(MAILS, params={"address": ANA})
        assert (response.status_code, response.json()["status"]["code"]) == (403, "INVALID_SESSION")


# -- where nothing is ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "", "GET, POST"),
        ("DELETE", "", "GET, POST"),
        ("POST", f"/{NOBODY}", "DELETE, GET"),
        ("HEAD", f"/{NOBODY}", None),
        ("PATCH", f"/{NOBODY}/userdata", "GET"),
        ("BREW", f"/{NOBODY}/attachments/1", "GET"),
    ],
)
async def test_other_methods(light: Office, method: str, path: str, allow: str | None) -> None:
    response = await light.call(method, MAILS + path)
    assert response.status_code == 405
    if allow is not None:
        assert response.headers["allow"] == allow
        assert response.json()["status"]["code"] == "INVALID_ENDPOINT"
        assert response.json()["status"]["message"] == f"expected {allow}, got {method}"


@pytest.mark.parametrize("path", [f"/{NOBODY}/other", f"/{NOBODY}/attachments", "/a/b/c/d", "//"])
async def test_other_paths(light: Office, path: str) -> None:
    assert (await refusal(light, "GET", MAILS + path))[:3] == (404, "INVALID_ENDPOINT", "path")


async def test_a_slash_too_many_is_no_redirect(light: Office) -> None:
    response = await light.call("GET", f"{MAILS}/?address={ANA}")
    assert (response.status_code, response.json()["data"]) == (200, [])
    sent = await light.call("POST", f"{MAILS}/", json={"data": {"from": ANA, "to": ANA, "text": "x"}})
    assert sent.status_code == 200, sent.text
    assert (await light.call("GET", f"{MAILS}/{sent.json()['secureMailId']}/")).status_code == 200


# -- when the hub cannot ------------------------------------------------------------------------------------------------


async def test_a_database_that_does_not_answer(light: Office) -> None:
    await light.transactions.stop()
    for method, url, more in (
        ("GET", f"{MAILS}?address={ANA}", {}),
        ("GET", f"{MAILS}/{NOBODY}", {}),
        ("DELETE", f"{MAILS}/{NOBODY}", {}),
        ("POST", MAILS, {"json": {"data": {"from": ANA, "text": "x"}}}),
    ):
        assert (await refusal(light, method, url, **more))[:2] == (503, "FAILURE")
    response = await light.call("POST", DESK, json={"data": {"to": ANA, "text": "x"}})
    assert (response.status_code, response.json()["status"]["code"]) == (503, 503)
    assert response.headers["retry-after"] == "1"


async def test_a_fault_of_the_hub_is_told_in_the_same_shape(light: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(type(light.mails), "count", broken)
    status, code, detail, message = await refusal(light, "GET", f"{MAILS}/count?address={ANA}")
    assert (status, code, detail) == (500, "FAILURE", "")
    assert "secret" not in message


async def test_trimming_outlives_a_database_that_does_not_answer(light: Office) -> None:
    await light.transactions.stop()
    with pytest.raises(StorageError):
        await light.retention.trim()
    await light.retention.start()
    await light.retention.stop()
    await light.retention.stop()


async def test_base64_as_mail_has_it(light: Office) -> None:
    lines = base64.encodebytes(PDF * 20).decode().replace("\n", "\r\n")
    identifier = await light.send(attachments=[{"filename": "a.pdf", "content": lines}])
    assert (await light.call("GET", f"{MAILS}/{identifier}/attachments/1")).content == PDF * 20


async def test_optional_parameters_without_a_value_are_as_if_absent(light: Office) -> None:
    response = await light.call("GET", f"/nexus/v3/securemail?address={ANA}&status=&securebox=&count=&index=&direction=")
    assert (response.status_code, response.json()["data"]) == (200, [])
    assert (await light.call("GET", "/nexus/v3/securemail?address=&status=")).json()["status"]["detail"] == "address"
