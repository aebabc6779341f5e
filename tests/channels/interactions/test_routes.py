"""Open media interactions over REST: all seven calls, the selfUri, pages, and what is refused."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import uuid
from typing import Any

import pytest

from channels.interactions import routes
from channels.interactions.parsing import parse
from channels.interactions.retention import InteractionRetention
from channels.interactions.settings import InteractionsSettings
from hub.storage.transactions import StorageError, Transaction, Transactions
from tests.channels.interactions.support import ALL, HUB, WORK, Reception

NOBODY = str(uuid.UUID(int=7))

CREATE = {
    "externalId": "TICKET-17",
    "parentInteractionId": "000ABCDE",
    "receivedAt": "2026-11-26T08:00:00Z",
    "userData": {"Subject": "Printer", "Priority": 3, "Tags": ["a", {"b": None}]},
}


async def test_an_interaction_from_its_creation_to_its_end(reception: Reception) -> None:
    made = await reception.data("POST", WORK, CREATE)
    identifier = made["id"]
    assert uuid.UUID(identifier).version == 4
    assert made == {
        "id": identifier,
        "mediaType": "workitem",
        "interactionSubtype": "InboundNew",
        "state": "submitted",
        "userData": CREATE["userData"],
        "createdAt": reception.clock.now_ms,
        "selfUri": f"{HUB}/nexus/v3/interactions/{identifier}",
        "openMediaService": "tickets",
        "externalId": "TICKET-17",
        "parentInteractionId": "000ABCDE",
        "receivedAt": "2026-11-26T08:00:00Z",
    }
    assert await reception.data("GET", f"{WORK}/{identifier}") == made
    changes = {"changedProperties": {"Priority": 1}, "addedProperties": {"Floor": 2}, "deletedProperties": ["Tags"]}
    changed = await reception.data("POST", f"{WORK}/{identifier}/update", changes)
    assert changed["userData"] == {"Subject": "Printer", "Priority": 1, "Floor": 2}
    reception.clock.now_ms += 5_000
    reason = {"reasonSystemName": "Resolved", "reasonDescription": "It had no paper"}
    stopped = await reception.data("POST", f"{WORK}/{identifier}/stop", reason)
    assert stopped == {**changed, "state": "stopped", "stoppedAt": reception.clock.now_ms, **reason}
    assert await reception.data("GET", f"{WORK}/{identifier}") == stopped
    assert reception.told() == [("STARTED", identifier), ("FINISHED", identifier)]


async def test_what_webhooks_are_told(reception: Reception) -> None:
    made = await reception.data("POST", WORK, {}, headers={"X-B3-TraceId": "463ac35c9f6413ad48485a3953bb6124"})
    (event,) = reception.recorded
    assert json.loads(event.body) == {
        "operationId": event.operation_id,
        "data": {
            "entities": [
                {
                    "event": "STARTED",
                    "entity": {
                        "id": made["id"],
                        "mediaType": "workitem",
                        "interactionSubtype": "InboundNew",
                        "selfUri": f"{HUB}/nexus/v3/interactions/{made['id']}",
                    },
                }
            ]
        },
    }
    assert (event.tenant, event.type, event.key, event.media) == ("acme", "interaction.started", made["id"], "workitem")
    assert event.trace_id == "463ac35c9f6413ad48485a3953bb6124"


async def test_by_the_external_id(reception: Reception) -> None:
    made = await reception.data("POST", WORK, {"externalId": "a/b ö", "userData": {"n": 1}})
    external = f"{WORK}/ext_a%2Fb%20%C3%B6"
    assert (await reception.data("GET", external))["id"] == made["id"]
    assert (await reception.data("POST", f"{external}/update", {"changedProperties": {"n": 2}}))["userData"] == {"n": 2}
    assert (await reception.data("POST", f"{external}/stop", {}))["state"] == "stopped"
    assert reception.told() == [("STARTED", made["id"]), ("FINISHED", made["id"])]


async def test_the_self_uri_leads_to_it(light: Reception) -> None:
    made = await light.data("POST", WORK, {})
    assert await light.data("GET", made["selfUri"].removeprefix(HUB)) == made


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:1", "a.localhost:8080"])
async def test_without_public_url_links_lead_to_where_the_call_came(transactions: Transactions, host: str) -> None:
    reception = Reception(transactions, public_url=None)
    headers = {"Host": host}
    made = await reception.data("POST", WORK, {"externalId": "1"}, headers=headers)
    assert made["selfUri"] == f"http://{host}{ALL}/{made['id']}"
    for url in (f"{WORK}/{made['id']}", f"{WORK}/ext_1", f"{ALL}/{made['id']}"):
        assert (await reception.data("GET", url, headers=headers))["selfUri"] == made["selfUri"]
    (shown,) = (await reception.data("GET", ALL, headers=headers))["interactions"]
    assert shown["selfUri"] == made["selfUri"]
    await reception.data("POST", f"{WORK}/{made['id']}/stop", {}, headers=headers)
    assert [json.loads(event.body)["data"]["entities"][0]["entity"]["selfUri"] for event in reception.recorded] == [made["selfUri"]] * 2


async def test_without_public_url_no_link_is_made_from_a_name_of_the_callers_own(transactions: Transactions) -> None:
    reception = Reception(transactions, public_url=None)
    made = await reception.data("POST", WORK, {"externalId": "1"}, headers={"Host": "localhost"})
    base = f"{WORK}/{made['id']}"
    for method, url, body in [
        ("POST", WORK, {"data": {}}),
        ("GET", base, None),
        ("GET", f"{WORK}/ext_1", None),
        ("POST", f"{base}/update", {"data": {"addedProperties": {"a": 1}}}),
        ("POST", f"{base}/stop", {"data": {}}),
        ("GET", ALL, None),
        ("GET", f"{ALL}/{made['id']}", None),
    ]:
        status, message = await reception.refusal(method, url, json=body, headers={"Host": "evil.example"})
        assert (status, "allowed_hosts" in message) == (400, True)
        assert (await reception.call(method, url, json=body, headers={"Host": "evil.example"}, caller="")).status_code == 401
    assert reception.told() == [("STARTED", made["id"])]
    assert (await reception.data("GET", base, headers={"Host": "localhost"})) == made


async def test_without_public_url_what_nobody_asked_for_leads_to_the_hubs_own_address(transactions: Transactions) -> None:
    reception = Reception(transactions, public_url=None)

    def write(tx: Transaction) -> None:
        reception.interactions.started(tx, "acme", "call 1", "voice", "InboundNew", 1, external_id=None, user_data={})
        reception.interactions.finished(tx, "acme", "call 1", "voice", "InboundNew", "", 2)

    await transactions.write(write)
    links = [json.loads(event.body)["data"]["entities"][0]["entity"]["selfUri"] for event in reception.recorded]
    assert links == [f"http://localhost:8123{ALL}/call%201"] * 2


async def test_a_known_external_id(reception: Reception) -> None:
    made = await reception.data("POST", WORK, {"externalId": "1"})
    response = await reception.call("POST", WORK, json={"data": {"externalId": "1"}})
    assert response.status_code == 409
    assert response.json()["status"]["detail"] == {
        "field": "data.externalId",
        "expected": "one that is new",
        "got": "1",
        "interactionId": made["id"],
    }
    assert reception.told() == [("STARTED", made["id"])]
    # of another service, and of another tenant, it is another one
    await reception.data("POST", WORK.replace("tickets", "orders"), {"externalId": "1"})
    await reception.data("POST", WORK, {"externalId": "1"}, caller="foreign")


async def test_of_two_that_create_at_once_one_is_told_of_the_other(reception: Reception) -> None:
    body = {"data": {"externalId": "1"}}
    answers = await asyncio.gather(*(reception.call("POST", WORK, json=body) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
    assert len(reception.recorded) == 1


async def test_of_two_that_stop_at_once_one_does(reception: Reception) -> None:
    made = await reception.data("POST", WORK, {})
    answers = await asyncio.gather(*(reception.call("POST", f"{WORK}/{made['id']}/stop") for _ in range(5)))
    assert [answer.status_code for answer in answers] == [200] * 5
    assert len({answer.text for answer in answers}) == 1
    assert reception.told() == [("STARTED", made["id"]), ("FINISHED", made["id"])]


async def test_a_service_has_its_medium(light: Reception) -> None:
    assert (await light.data("POST", WORK.replace("tickets", "mail"), {}))["mediaType"] == "email"


@pytest.mark.parametrize("body", [b"", b"{}", b'{"data":null}', b'{"data":{},"operationId":"1"}'])
async def test_nothing_has_to_be_said(light: Reception, body: bytes) -> None:
    made = await light.data("POST", WORK, content=body)
    assert (made["userData"], "externalId" in made) == ({}, False)
    assert (await light.data("POST", f"{WORK}/{made['id']}/stop", content=body))["state"] == "stopped"


@pytest.mark.parametrize("by", ["id", "externalId"])
async def test_after_its_end_it_stays_as_it_is(reception: Reception, by: str) -> None:
    made = await reception.data("POST", WORK, {"externalId": "e1", "userData": {"a": 1, "b": True}})
    one = f"{WORK}/{made['id'] if by == 'id' else 'ext_e1'}"
    stopped = await reception.data("POST", f"{one}/stop", {"reasonSystemName": "done"})
    reception.clock.now_ms += 1_000
    assert await reception.data("POST", f"{one}/stop", {"reasonSystemName": "other"}) == stopped
    for same in ({}, {"changedProperties": {"a": 1}}, {"addedProperties": {"b": True}}, {"deletedProperties": ["c"]}):
        assert await reception.data("POST", f"{one}/update", same) == stopped
    added = [{"addedProperties": properties} for properties in ({"c": 1}, {"b": 1})]
    for change in ({"changedProperties": {"a": 2}}, {"deletedProperties": ["a"]}, *added):
        response = await reception.call("POST", f"{one}/update", json={"data": change})
        assert response.status_code == 400
        status = response.json()["status"]
        assert status["message"] == "an interaction that is stopped cannot be asked to update: nothing is possible"
        assert status["detail"] == {"field": "state", "state": "stopped", "action": "update"}
    assert reception.told() == [("STARTED", made["id"]), ("FINISHED", made["id"])]


async def test_an_update_that_is_made_again_changes_nothing(reception: Reception) -> None:
    made = await reception.data("POST", WORK, {"userData": {"a": 1, "c": 3}})
    change = {"changedProperties": {"a": 2}, "addedProperties": {"b": [1]}, "deletedProperties": ["c"]}
    first = await reception.data("POST", f"{WORK}/{made['id']}/update", change)
    assert first["userData"] == {"a": 2, "b": [1]}
    assert await reception.data("POST", f"{WORK}/{made['id']}/update", change) == first


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "body: expected JSON"),
        (b"[]", "body: expected `object`, got `array`"),
        (b"\xff", "body: expected JSON"),
        (b'{"externalId":"1"}', "externalId: expected no other member of body than the documented ones"),
        (b'{"data":[]}', "data: expected `object`, got `array`"),
        (b'{"data":{"externalID":"1"}}', "data.externalID: expected no other member of data than the documented ones"),
        (b'{"data":{"externalId":""}}', "data.externalId: expected a `str` of length >= 1"),
        (b'{"data":{"externalId":1}}', "data.externalId: expected `str | null`, got `int`"),
        (b'{"data":{"externalId":"a\\u0000"}}', "data.externalId: expected"),
        (b'{"data":{"userData":[]}}', "data.userData: expected `object`, got `array`"),
        (b'{"data":{"userData":{"":1}}}', "data.userData: expected names with a `str` of length >= 1"),
        (b'{"data":{"userData":{"n":1e400}}}', "data.userData[...]: expected numbers that a double holds"),
        (b'{"data":{"userData":{"n":123456789012345678901234567890}}}', "data.userData.n: expected a number of at most 64 bits"),
        (b'{"data":{"userData":{"n":' + b"[" * 5000 + b"]" * 5000 + b"}}}", "expected"),
        (b'{"data":{"receivedAt":"yesterday"}}', "data.receivedAt: expected a time of RFC 3339"),
        (b'{"data":{"userData":{"n":"' + b"x" * 40_000 + b'"}}}', "data.userData: expected at most 32768 bytes as JSON"),
    ],
    ids=lambda value: re.sub(r"[^ -~]", "", value[:40].decode("ascii", "replace")) if isinstance(value, bytes) else None,
)
async def test_what_cannot_be_created(light: Reception, body: bytes, said: str) -> None:
    status, message = await light.refusal("POST", WORK, content=body)
    assert status == 400
    assert said in message
    assert light.recorded == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"changedProperties": {"c": 1}}, "data.changedProperties.c: expected a property that is there"),
        ({"addedProperties": {"a": 1}}, "data.addedProperties.a: expected a property that is not there yet"),
        ({"changedProperties": {"a": 2}, "deletedProperties": ["a"]}, "data.deletedProperties.a: expected a property that is named once"),
        ({"addedProperties": {"c": "x" * 40_000}}, "data.addedProperties: expected at most 32768 bytes"),
        ({"addedProperties": {"c": "x" * 32_750}}, "userData: expected at most 32768 bytes"),
        ({"deletedProperties": [1]}, "data.deletedProperties[0]: expected `str`, got `int`"),
    ],
    ids=["unknown", "known", "twice", "too large", "too large together", "no text"],
)
async def test_a_change_is_made_whole_or_not_at_all(reception: Reception, change: dict[str, Any], said: str) -> None:
    made = await reception.data("POST", WORK, {"userData": {"a": "x" * 100, "b": 2}})
    status, message = await reception.refusal(
        "POST", f"{WORK}/{made['id']}/update", json={"data": {"changedProperties": {"b": 3}} | change}
    )
    assert status == 400
    assert said in message
    assert await reception.data("GET", f"{WORK}/{made['id']}") == made


async def test_a_change_has_to_say_something(light: Reception) -> None:
    made = await light.data("POST", WORK, {})
    for body in (b"", b"{}"):
        assert (await light.refusal("POST", f"{WORK}/{made['id']}/update", content=body))[0] == 400


@pytest.mark.parametrize("key", [NOBODY, "ext_nobody", "ext_", "%00", "x" * 300])
@pytest.mark.parametrize(("method", "call"), [("GET", ""), ("POST", "/stop"), ("POST", "/update")])
async def test_nobody_is_there(light: Reception, key: str, method: str, call: str) -> None:
    body = {"json": {"data": {}}} if method == "POST" else {}
    assert (await light.refusal(method, f"{WORK}/{key}{call}", **body))[0] in {400, 404}


async def test_of_another_service_or_tenant_it_is_not_there(reception: Reception) -> None:
    made = await reception.data("POST", WORK, {"externalId": "1"})
    for key in (made["id"], "ext_1"):
        assert (await reception.refusal("GET", f"{WORK.replace('tickets', 'orders')}/{key}"))[0] == 404
        assert (await reception.refusal("POST", f"{WORK}/{key}/stop", caller="foreign"))[0] == 404
    assert (await reception.refusal("GET", f"{ALL}/{made['id']}", caller="foreign"))[0] == 404
    assert (await reception.data("GET", ALL, caller="foreign")) == {"interactions": []}


@pytest.mark.parametrize("service", ["-a", "a b", "ö", "x" * 65, "a%2Fb"])
async def test_names_of_services(light: Reception, service: str) -> None:
    assert (await light.refusal("POST", WORK.replace("tickets", service)))[0] in {400, 404}


@pytest.mark.parametrize(
    ("method", "url", "caller", "status"),
    [
        ("POST", WORK, "viewer", 403),
        ("POST", f"{WORK}/{NOBODY}/stop", "viewer", 403),
        ("POST", f"{WORK}/{NOBODY}/update", "viewer", 403),
        ("GET", ALL, "wall", 403),
        ("GET", f"{WORK}/{NOBODY}", "wall", 403),
        ("POST", WORK, "", 401),
        ("GET", ALL, "", 401),
        ("GET", ALL, "wrong", 401),
    ],
)
async def test_who_may(light: Reception, method: str, url: str, caller: str, status: int) -> None:
    assert (await light.refusal(method, url, caller=caller))[0] == status


async def test_pages_have_each_once_the_newest_first(reception: Reception) -> None:
    made = []
    for number in range(7):
        reception.clock.now_ms += number % 2  # some are of the same millisecond
        made.append((await reception.data("POST", WORK if number % 3 else WORK.replace("tickets", "mail"), {}))["id"])
    await reception.data("POST", f"{WORK}/{made[1]}/stop", {})

    async def ids(**params: str) -> list[str]:
        found: list[str] = []
        while True:
            page = await reception.data("GET", ALL, params={"limit": "2", **params})
            found += [each["id"] for each in page["interactions"]]
            if "cursor" not in page:
                return found
            params["cursor"] = page["cursor"]

    everything = await ids()
    assert sorted(everything) == sorted(made)
    assert everything[-1] == made[0]
    assert await ids(state="stopped") == [made[1]]
    assert sorted(await ids(mediaType="email")) == sorted([made[0], made[3], made[6]])


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "state=gone", "cursor=x", "cursor=1.%00", "cursor=9999999999999999.a"]
)
async def test_pages_that_cannot_be(light: Reception, query: str) -> None:
    assert (await light.refusal("GET", f"{ALL}?{query}"))[0] == 400


async def test_a_database_that_is_away(reception: Reception, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise StorageError("gone")

    monkeypatch.setattr(Transactions, "write", away)
    response = await reception.call("POST", WORK)
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert reception.recorded == []


async def test_what_is_over_is_kept_for_a_time(reception: Reception) -> None:
    over, newer, live = [(await reception.data("POST", WORK, {}))["id"] for _ in range(3)]
    await reception.data("POST", f"{WORK}/{over}/stop", {})
    reception.clock.now_ms += 2 * 86_400_000
    await reception.data("POST", f"{WORK}/{newer}/stop", {})
    reception.clock.now_ms += 86_400_000
    job = InteractionRetention(reception.interactions, reception.transactions, reception.clock, InteractionsSettings(keep_days=2))
    assert await job.trim() == 1
    left = await reception.data("GET", ALL)
    assert {each["id"] for each in left["interactions"]} == {newer, live}
    assert reception.interactions.counters.trimmed == 1


async def test_an_interaction_of_an_event_is_found_by_either_id(reception: Reception) -> None:
    def start(tx: Transaction) -> None:
        reception.interactions.started(tx, "acme", "i1", "email", "InboundNew", 5, external_id="m1", user_data={"secureMailId": "m1"})

    await reception.transactions.write(start)
    found = await reception.data("GET", f"{ALL}/i1")
    assert (found["id"], found["externalId"], found["userData"]) == ("i1", "m1", {"secureMailId": "m1"})
    assert await reception.data("GET", f"{ALL}/m1") == found
    assert (await reception.refusal("GET", f"{ALL}/m1", caller="foreign"))[0] == 404
    # what a service of REST calls its own is found below that service alone
    await reception.data("POST", WORK, {"externalId": "e1"})
    assert (await reception.refusal("GET", f"{ALL}/e1"))[0] == 404


async def test_optional_members_may_be_null(light: Reception) -> None:
    nulls = {"externalId": None, "parentInteractionId": None, "receivedAt": None, "userData": None}
    made = await light.data("POST", WORK, nulls)
    stopped = await light.data("POST", f"{WORK}/{made['id']}/stop", {"reasonSystemName": None, "reasonDescription": None})
    assert stopped["id"] == made["id"]


async def test_a_time_is_told_as_rfc_3339_has_it(light: Reception) -> None:
    for given, told in (("2026-11-26T08:00+0100", "2026-11-26T07:00:00.000Z"), ("2026-11-26T08:00:00+01:00", "2026-11-26T08:00:00+01:00")):
        made = await light.data("POST", WORK, {"receivedAt": given})
        assert made["receivedAt"] == told


async def test_a_large_request_is_checked_apart_from_the_event_loop(light: Reception, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[tuple[str, bool]] = []

    def noted(shape: Any, body: bytes, *, required: bool) -> Any:
        checked.append((shape.__name__, threading.current_thread() is threading.main_thread()))
        return parse(shape, body, required=required)

    monkeypatch.setattr(routes, "parse", noted)
    large = {f"name {number}": "x" * 50 for number in range(1000)}
    made = await light.data("POST", WORK, {"userData": {"Subject": "small"}})
    for path, body in ((WORK, {"userData": large}), (f"{WORK}/{made['id']}/update", {"addedProperties": large})):
        assert (await light.call("POST", path, json={"data": body})).status_code == 400  # more than an interaction may have
    assert checked == [("Create", True), ("Create", False), ("Change", False)]
