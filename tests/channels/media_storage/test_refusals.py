"""Who is refused, and how: Alvaria's form on every path of the API."""

from __future__ import annotations

import json

import pytest

from channels.media_storage.errors import respond
from channels.media_storage.family import family
from channels.media_storage.folders import FOLDERS
from channels.media_storage.keys import operation_of
from hub.core.channels import check_pattern
from hub.core.principal import Action
from hub.http.errors import ApiError
from hub.objects.instances import instance_id
from hub.security.roles import allowed
from tests.channels.media_storage.support import Cabinet, error

CALLS = [
    ("GET", 2, "objectKeys"),
    ("DELETE", 2, "objectKeys"),
    ("GET", 3, "objectKeys"),
    ("DELETE", 3, "objectKeys"),
    ("GET", 3, "signedUploadUrl"),
    ("GET", 3, "signedDownloadUrl"),
]


def url(version: int, call: str, org: str = "acme") -> str:
    return f"/via/v{version}/organizations/{org}/mediaStorage/data/{call}"


@pytest.mark.parametrize(("method", "version", "call"), CALLS)
async def test_who_may_call(light: Cabinet, method: str, version: int, call: str) -> None:
    query = {"key": "exports/cxp/a", "keyType": "file"}
    at = url(version, call)
    nobody = await light.call(method, at, caller="", params=query)
    assert (nobody.status_code, nobody.content, nobody.headers["www-authenticate"]) == (401, b"", "Bearer")
    assert (await light.call(method, at, caller="wrong", params=query)).content == b""
    assert error(await light.call(method, at, caller="", headers={"x-api-key": "wrong"}, params=query))[0] == 403
    assert error(await light.call(method, at, headers={"x-api-key": "foreign"}, params=query))[0] == 403
    assert error(await light.call(method, at, caller="wall", params=query))[0] == 403
    assert error(await light.call(method, at, caller="reports", params=query))[0] == 403
    assert error(await light.call(method, at, caller="foreign", params=query))[0] == 404
    for org in ("other", instance_id("other"), "nobody"):
        assert error(await light.call(method, url(version, call, org), params=query))[0] == 404
    assert error(await light.call(method, at, params={"keyType": "file"}))[0] == 400


async def test_a_token_and_a_key_go_together(light: Cabinet) -> None:
    await light.export("exports/cxp/a")
    for headers, caller in (({"x-api-key": "desk"}, "desk"), ({"x-api-key": "desk"}, ""), ({}, "desk"), ({"x-api-key": "wall"}, "desk")):
        answer = await light.ask(3, "exports/cxp/", q_keyType="file", caller=caller, headers=headers)
        assert answer.json()["totalItems"] == 1
    for org in ("acme", instance_id("acme"), instance_id("acme").upper()):
        assert (await light.ask(3, "exports/cxp/", q_keyType="file", org=org)).status_code == 200


async def test_tenants_do_not_see_one_another(cabinet: Cabinet) -> None:
    await cabinet.upload("imports/a", b"of acme")
    assert (await cabinet.ask(3, "imports/", q_keyType="file", org="other", caller="foreign")).json()["objectKeys"] == []
    missing = [
        await cabinet.call(method, url(3, call, "other"), caller="foreign", params={"key": "imports/a"})
        for method, call in (("GET", "signedDownloadUrl"), ("DELETE", "objectKeys"))
    ]
    assert [error(each)[0] for each in missing] == [404, 404]
    assert await cabinet.keys("imports/") == ["imports/a"]


@pytest.mark.parametrize(
    ("caller", "key", "kind", "status"),
    [
        ("reports", "exports/reporting/", "file", 200),
        ("reports", "exports/reporting/intraday/", "directory", 200),
        ("reports", "exports/reporting/anything/deep/", "file:directory", 404),
        ("reports", "exports/reporting", "file", 200),
        ("reports", "exports/", "file:directory", 403),
        ("reports", "exports/reporting-archive/", "file", 403),
        ("reports", "imports/", "file", 403),
        ("shallow", "exports/", "file:directory", 200),
        ("shallow", "exports/", "file", 403),
        ("shallow", "exports/", "directory", 403),
        ("shallow", "exports/a", "file", 404),
        ("mailer", "imports/outreach/nanp/", "file", 200),
    ],
)
async def test_grants_go_by_the_path_of_the_folder(light: Cabinet, caller: str, key: str, kind: str, status: int) -> None:
    assert (await light.ask(3, key, q_keyType=kind, caller=caller)).status_code == status


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "export",
        "other/a",
        "/exports/a",
        "exports//a",
        "exports/./a",
        "exports/../imports/a",
        "exports/..",
        "exports/a\x00",
        "exports/a\nb",
        "exports/a\x7f",
        "exports/a\u202eb",
        "exports/a\u061cb",
        "exports/a\u2028b",
        "exports/a\u200bb",
        "exports/\ufeffb",
        "exports/a\U000e0001b",
        "exports/a\\b",
        "exports/" + "a" * 1017,
    ],
)
async def test_what_is_no_key(light: Cabinet, key: str) -> None:
    for version, call, more in ((2, "objectKeys", {"q_keyType": "file"}), (3, "signedUploadUrl", {}), (3, "signedDownloadUrl", {})):
        status, text = error(await light.ask(version, key, call=call, **more))
        assert (status, "key" in text) == (400, True)
    assert error(await light.call("DELETE", url(3, "objectKeys"), params={"key": key}))[0] == 400


async def test_bytes_that_are_no_text_are_no_key(light: Cabinet) -> None:
    assert error(await light.call("GET", f"{url(3, 'objectKeys')}?key=exports%2f%ff&keyType=file"))[0] == 400


@pytest.mark.parametrize("key", ["exports/reporting/", "imports/outreach/", "imports/outreach", "imports"])
async def test_folders_have_no_links_and_are_not_deleted(light: Cabinet, key: str) -> None:
    for call in ("signedUploadUrl", "signedDownloadUrl"):
        status, text = error(await light.ask(3, key, call=call))
        assert (status, "not of a folder" in text) == (400, True)
    assert error(await light.call("DELETE", url(2, "objectKeys"), params={"key": key}))[0] == 400


async def test_uploads_go_to_imports_alone(light: Cabinet) -> None:
    status, text = error(await light.ask(3, "exports/reporting/a", call="signedUploadUrl"))
    assert (status, "below imports/" in text) == (400, True)


OTHERS = [("POST", "objectKeys", 405), ("PUT", "signedUploadUrl", 405), ("GET", "nothing", 404)]


@pytest.mark.parametrize(("method", "path", "status"), OTHERS)
async def test_other_methods_and_paths_have_the_same_form(light: Cabinet, method: str, path: str, status: int) -> None:
    assert error(await light.call(method, url(3, path), params={"key": "exports/a"}))[0] == status
    assert error(await light.call("GET", "/via/v2"))[0] == 404


async def test_a_wrong_type_of_key_is_named(light: Cabinet) -> None:
    status, text = error(await light.ask(2, "exports/", q_keyType="folder"))
    assert (status, "keyType" in text) == (400, True)


async def test_a_fault_of_the_hub_is_told_in_the_same_form(light: Cabinet, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> bytes:
        raise RuntimeError("inner details")

    monkeypatch.setattr(type(light.media), "listing", fail)
    answer = await light.ask(3, "exports/", q_keyType="file")
    assert error(answer)[0] == 500
    assert "inner" not in answer.text


async def test_a_database_that_does_not_answer_is_told(light: Cabinet) -> None:
    await light.transactions.stop()
    answer = await light.ask(3, "exports/", q_keyType="file")
    assert error(answer)[0] == 503
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("status", [400, 403, 404, 405, 413, 429, 431, 500, 503])
def test_every_status_has_the_form(status: int) -> None:
    answer = respond({"type": "http", "path": "/via/v3/x"}, ApiError(status, "why", headers={"Retry-After": "2"}))
    told = json.loads(answer.body)["error"]
    assert (answer.status_code, told["code"], told["errors"][0]["message"]) == (status, str(status), "why")
    assert told["message"]
    assert (answer.headers["retry-after"], answer.headers["cache-control"]) == ("2", "no-store")


def test_several_faults_are_told_one_by_one() -> None:
    faults = [{"status": {"code": 400, "message": text}} for text in ("first", "second")]
    answer = respond({"type": "http", "path": "/via/v3/x"}, ApiError(400, "two", errors=faults))
    assert [each["message"] for each in json.loads(answer.body)["error"]["errors"]] == ["first", "second"]


async def test_a_head_has_the_headers_alone(light: Cabinet) -> None:
    answer = await light.call("HEAD", url(3, "objectKeys"), params={"key": "exports/", "keyType": "file"})
    assert (answer.status_code, answer.content) == (200, b"")


def test_every_scope_covers_its_folder_and_all_below() -> None:
    scoped = {each.scope: each.path for each in FOLDERS.values() if each.scope is not None}
    assert len(scoped) == 38
    assert family.scopes.keys() == scoped.keys()
    for scope, path in scoped.items():
        grants = family.scopes[scope].grants
        for folder in FOLDERS:
            operation = operation_of(f"{folder}/")
            covered = folder == path or folder.startswith(f"{path}/")
            for asked in (operation, f"{operation}/**", f"{operation}/deeper"):
                assert allowed(grants, Action.CALL, asked) is covered, (scope, asked)


def test_a_folder_that_is_too_deep_for_patterns_has_the_operation_of_one_above() -> None:
    deep = operation_of("exports/" + "a/" * 30)
    assert deep == "/media/exports/" + "/".join("a" * 13)
    check_pattern(f"{deep}/**")
    check_pattern(f"{operation_of('imports/' + '日本' * 100 + '/x')}/**")
    assert operation_of("imports/ä b/x") == "/media/imports/%C3%A4%20b"


def test_the_folders_are_whole() -> None:
    """Every folder is below one that is known, and only tops lie by themselves."""
    for path in FOLDERS:
        assert path in ("exports", "imports") or path.rpartition("/")[0] in FOLDERS
