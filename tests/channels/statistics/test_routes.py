"""The Statistics API over HTTP: the samples of the reference, word for word, and the rules around them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from channels.statistics.routes import create_administration_router, create_router, register_errors
from hub.core.limits import Limits
from hub.core.principal import Principal, login_key
from hub.core.time_slice import TimeSlice
from hub.http.error_table import ErrorTable
from hub.http.handlers import install
from hub.http.routing import WithoutSlash, include
from hub.security.changes import Changes
from hub.security.cookies import CookieSigner
from hub.security.credentials import Credential, hash_secret
from hub.security.directory import Directory
from hub.security.gate import Gate
from hub.security.roles import Grants
from hub.transports.runtime import AsyncioLoop
from tests.channels.statistics.support import Centre, agent_item, call, items_of
from tests.support.access import ROLES

MAX_BODY = 64 * 1024


class Credentials:
    """A look-up of a few fixed credentials: token ``admin`` of role admin, and so on; key ``key``; token ``foreign`` of another tenant."""

    def __init__(self) -> None:
        made = [self._made(role, "t", role) for role in ("admin", "supervisor", "dashboard", "producer")]
        made += [self._made("foreign", "u", "admin"), self._made("second", "t", "admin", subject="admin")]
        self._tokens = {c.fingerprint: c for c in made}
        key = self._made("key", "t", "admin")
        self._keys = {key.fingerprint: key}

    @staticmethod
    def _made(secret: str, tenant: str, role: str, *, subject: str | None = None) -> Credential:
        return Credential(f"token:{secret}", tenant, subject or secret, frozenset({role}), ROLES[role], hash_secret(secret))

    async def changes(self, after: int | None) -> Changes:
        return Changes(0, ())

    async def client_origins(self) -> list[tuple[str, str]]:
        return []

    async def ended_sign_ins(self) -> list[tuple[str, int]]:
        return []

    async def by_token(self, digest: str) -> Credential | None:
        return self._tokens.get(digest)

    async def by_key(self, digest: str) -> Credential | None:
        return self._keys.get(digest)

    async def by_user(self, tenant: str, name: str) -> Credential | None:
        return None

    async def by_ids(self, ids: Iterable[str]) -> dict[str, Credential]:
        return {}

    async def grants(self, tenant: str, roles: frozenset[str]) -> Grants:
        return tuple(grant for role in roles for grant in ROLES[role])


@pytest.fixture
def centre() -> Centre:
    return Centre()


@pytest.fixture
async def client(centre: Centre) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.state.errors = errors = ErrorTable()
    register_errors(errors)
    install(app, errors)
    statistics = create_router(centre.server, lambda: TimeSlice(centre.clock, AsyncioLoop()), max_body_bytes=MAX_BODY)
    for router in (statistics, create_administration_router(centre.server)):
        include(app, router)
    app.router.redirect_slashes, app.router.default = False, WithoutSlash(app.router)
    app.state.limits = Limits()
    app.state.gate = Gate(Directory(Credentials(), centre.clock), centre.clock, CookieSigner(b"s" * 32, centre.clock, lifetime_s=60))
    transport = httpx.ASGITransport(app)
    headers = {"Authorization": "Bearer admin"}
    async with httpx.AsyncClient(transport=transport, base_url="http://hub/statistics/v3", headers=headers) as made:
        yield made


def subscription(*items: object, operation_id: str = "UUID1") -> dict[str, Any]:
    return {"operationId": operation_id, "data": {"statistics": list(items)}}


# -- the samples of Genesys' description ----------------------------------------------------------------------------------------

SAMPLE_CREATE = """
{
  "operationId": "UUID1",
  "data": {
    "statistics": [
      {
        "statisticId": "UUID2",
        "objectId": "agent",
        "objectType": "Agent",
        "name": "AverageHandlingTime"
      },
      {
        "statisticId": "UUID3",
        "objectId": "agent",
        "objectType": "Agent",
        "definition": {
          "notificationMode": "Periodical",
          "notificationFrequency": 10,
          "insensitivity": 1,
          "category": "TotalAdjustedTime",
          "subject": "DNStatus",
          "intervalType": "GrowingWindow",
          "mainMask": "WaitForNextCall",
          "dynamicTimeProfile": "00:00",
          "dynamicFilter": "Media=voice",
          "maskType": "DN"
        }
      }
    ]
  }
}
"""

SAMPLE_READ = """
{
  "data":{
    "statistics":[
      {
        "name":"CurrentAgentState",
        "objectType":"Agent",
        "objectId":"agent2"
      },
      {
        "name":"TimeInCurrentState",
        "objectType":"Agent",
        "objectId":"agent2"
      }
    ]
  }
}
"""

ZERO = {"intValue": 0, "stringValue": "0", "intervalLength": 0, "tag": -1}


def items_of_sample(now: int) -> list[dict[str, Any]]:
    value = ZERO | {"timestamp": now}
    of = {"objectId": "agent", "objectType": "Agent"}
    return [
        {"statisticId": "UUID2", **of, "name": "AverageHandlingTime", "value": value, "empty": True, "timestamp": now},
        {"statisticId": "UUID3", **of, "value": value, "timestamp": now},
    ]


async def test_sample_create_a_subscription(client: httpx.AsyncClient, centre: Centre) -> None:
    answer = await client.post("/subscriptions", content=SAMPLE_CREATE)
    assert answer.status_code == 200
    assert answer.json() == {
        "status": {"code": 0},
        "data": {"subscriptionId": "UUID1", "operationId": "UUID1", "statistics": items_of_sample(centre.clock.wall)},
    }


async def test_sample_peek_a_subscription(client: httpx.AsyncClient, centre: Centre) -> None:
    await client.post("/subscriptions", content=SAMPLE_CREATE)
    answer = await client.get("/subscriptions/UUID1/statistic-values")
    assert answer.status_code == 200
    body = answer.json()
    assert body["status"] == {"code": 0}
    assert body["data"]["subscriptionId"] == "UUID1"
    assert body["data"]["statistics"] == items_of_sample(centre.clock.wall)


async def test_sample_delete_a_subscription(client: httpx.AsyncClient, centre: Centre) -> None:
    await client.post("/subscriptions", content=SAMPLE_CREATE)
    answer = await client.delete("/subscriptions/UUID1", headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()) == (200, {"status": {"code": 0}})
    assert (await centre.server.report("t")).subscriptions == 0


async def test_sample_get_statistic_ex(client: httpx.AsyncClient, centre: Centre) -> None:
    answer = await client.post("/operations/get-statistic-ex", content=SAMPLE_READ)
    assert answer.status_code == 200
    state, time = answer.json()["data"]["statistics"]
    now = centre.clock.wall
    assert answer.json()["status"] == {"code": 0}
    assert (state["name"], state["objectType"], state["objectId"], state["timestamp"]) == ("CurrentAgentState", "Agent", "agent2", now)
    assert state["value"]["stringValue"] == "LoggedOut"
    assert state["value"]["stateValue"]["agentId"] == "agent2"
    assert time["name"] == "TimeInCurrentState"


async def test_sample_statistic_value(client: httpx.AsyncClient, centre: Centre) -> None:
    await centre.feed(*call(centre))
    answer = await client.get("/statistic-values/InboundCalls?objectType=Agent&objectId=ana")
    now = centre.clock.wall
    assert answer.status_code == 200
    assert answer.json() == {
        "status": {"code": 0},
        "data": {
            "statistic": {
                "name": "InboundCalls",
                "objectId": "ana",
                "objectType": "Agent",
                "value": {"intValue": 1, "stringValue": "1", "intervalLength": 0, "tag": -1, "timestamp": now},
                "timestamp": now,
            }
        },
    }


async def test_sample_updates_after_the_sample_subscription(client: httpx.AsyncClient, centre: Centre) -> None:
    await client.post("/subscriptions", content=SAMPLE_CREATE)
    await centre.feed(centre.event("cx.agent.login", agentId="agent"), centre.event("cx.agent.ready", agentId="agent"))
    own = login_key("t", "admin", f"token:{hash_secret('admin')}")
    listener = await centre.subscribe("/statistics/v3/updates", who=Principal("t", "admin", frozenset({"admin"}), own, own))
    listener.taken()
    await centre.tick(10)
    ((_, data),) = listener.taken()
    (item,) = data["data"]["statistics"]
    assert {key: data[key] for key in ("name", "topic")} == {"name": "StatisticUpdate", "topic": "/statistics/v3/updates"}
    assert (item["subscriptionId"], item["statisticId"], item["value"]["intValue"]) == ("UUID1", "UUID3", 10)
    assert item["timestamp"] == centre.clock.wall


# -- verbose --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verbose", ["OFF", "off", "Off"])
async def test_verbose_off_leaves_out_what_a_statistic_is(client: httpx.AsyncClient, verbose: str) -> None:
    body = subscription(agent_item(name="InboundCalls"))
    created = await client.post(f"/subscriptions?verbose={verbose}", json=body)
    peeked = await client.get(f"/subscriptions/UUID1/statistic-values/?verbose={verbose}")
    assert list(created.json()["data"]["statistics"][0]) == ["statisticId", "value", "timestamp"]
    assert list(peeked.json()["data"]["statistics"][0]) == ["statisticId", "value", "timestamp"]


async def test_verbose_info_is_the_default(client: httpx.AsyncClient) -> None:
    body = subscription(agent_item(name="InboundCalls"))
    created = await client.post("/subscriptions?verbose=INFO", json=body)
    peeked = await client.get("/subscriptions/UUID1/statistic-values")
    for answer in (created, peeked):
        item = answer.json()["data"]["statistics"][0]
        assert (item["name"], item["objectId"], item["objectType"]) == ("InboundCalls", "ana", "Agent")


async def test_verbose_decides_the_updates_too(client: httpx.AsyncClient, centre: Centre) -> None:
    await client.post("/subscriptions?verbose=OFF", json=subscription(agent_item(name="InboundCalls")))
    tenant = centre.server._entries["t"].tenant
    assert tenant is not None
    (login,) = tenant.subscriptions.logins
    data = json.loads(await centre.server.present_updates("t", login) or b"")
    assert list(items_of([("/statistics/v3/updates", data)])[0]) == ["subscriptionId", "statisticId", "value", "timestamp"]


@pytest.mark.parametrize("path", ["/subscriptions/UUID1/statistic-values", "/subscriptions"])
async def test_verbose_is_off_or_info(client: httpx.AsyncClient, path: str) -> None:
    method = "GET" if path.endswith("values") else "POST"
    answer = await client.request(method, path, params={"verbose": "none"}, content="{}" if method == "POST" else None)
    assert answer.status_code == 400
    assert answer.json()["status"]["message"] == 'verbose: expected INFO or OFF, got "none"'


# -- some fail, all fail --------------------------------------------------------------------------------------------


async def test_some_fail(client: httpx.AsyncClient) -> None:
    answer = await client.post("/subscriptions", json=subscription(agent_item("good"), agent_item("bad", name="Nope"), {"objectId": 5}))
    body = answer.json()
    assert (answer.status_code, body["status"]) == (200, {"code": 2})
    assert [item["statisticId"] for item in body["data"]["statistics"]] == ["good"]
    first, second = (error["status"] for error in body["errors"])
    assert (first["code"], first["detail"]) == (400, {"statisticId": "bad", "field": "name"})
    assert first["message"].startswith("name: expected one of")
    assert second["detail"]["field"] == "objectId"
    assert second["detail"]["statisticId"]


async def test_all_fail(client: httpx.AsyncClient, centre: Centre) -> None:
    answer = await client.post("/subscriptions", json=subscription(agent_item("a", name="Nope"), agent_item("b", name="Nope")))
    body = answer.json()
    assert answer.status_code == 400
    assert body["status"]["code"] == 400
    assert body["status"]["message"].startswith("none of the 2 statistics")
    assert [error["status"]["detail"]["statisticId"] for error in body["errors"]] == ["a", "b"]
    assert "data" not in body
    assert (await centre.server.report("t")).subscriptions == 0


async def test_the_only_one_fails(client: httpx.AsyncClient) -> None:
    answer = await client.post("/subscriptions", json=subscription(agent_item("a", name="Nope")))
    status = answer.json()["status"]
    assert status["message"].startswith("name: expected one of")
    assert status["detail"] == {"statisticId": "a", "field": "name"}


async def test_get_statistic_ex_some_and_all_fail(client: httpx.AsyncClient) -> None:
    good = {"name": "InboundCalls", "objectId": "ana", "objectType": "Agent"}
    some = await client.post("/operations/get-statistic-ex", json={"data": {"statistics": [good, good | {"name": "Nope"}]}})
    assert (some.status_code, some.json()["status"]) == (200, {"code": 2})
    assert some.json()["errors"][0]["status"]["detail"] == {"name": "Nope", "objectId": "ana", "objectType": "Agent", "field": "name"}
    none = await client.post("/operations/get-statistic-ex", json={"data": {"statistics": [good | {"objectType": "Robot"}]}})
    assert none.status_code == 400
    assert none.json()["status"]["detail"]["field"] == "objectType"


@pytest.mark.parametrize(
    ("path", "code", "field"),
    [
        ("/statistic-values/Nope?objectType=Agent&objectId=ana", 404, "name"),
        ("/statistic-values/InboundCalls?objectType=Robot&objectId=ana", 400, "objectType"),
        ("/statistic-values/InboundCalls?objectId=ana", 400, "objectType"),
        ("/statistic-values/InboundCalls?objectType=Agent", 400, "objectId"),
    ],
)
async def test_statistic_value_refused(client: httpx.AsyncClient, path: str, code: int, field: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == answer.json()["status"]["code"] == code
    assert answer.json()["status"]["detail"] == {"field": field}


# -- peek -----------------------------------------------------------------------------------------------------------


async def test_peek_by_repeated_and_by_joined_ids(client: httpx.AsyncClient) -> None:
    await client.post("/subscriptions", json=subscription(*(agent_item(name) for name in "abc")))
    repeated = await client.get("/subscriptions/UUID1/statistic-values?statisticIds=a&statisticIds=c")
    joined = await client.get("/subscriptions/UUID1/statistic-values?statisticIds=a,c")
    every = await client.get("/subscriptions/UUID1/statistic-values?statisticIds=")
    assert [i["statisticId"] for i in repeated.json()["data"]["statistics"]] == ["a", "c"]
    assert [i["statisticId"] for i in joined.json()["data"]["statistics"]] == ["a", "c"]
    assert [i["statisticId"] for i in every.json()["data"]["statistics"]] == ["a", "b", "c"]


async def test_peek_with_some_unknown_ids(client: httpx.AsyncClient) -> None:
    await client.post("/subscriptions", json=subscription(agent_item("a")))
    answer = await client.get("/subscriptions/UUID1/statistic-values?statisticIds=a,zz")
    assert (answer.status_code, answer.json()["status"]) == (200, {"code": 2})
    status = answer.json()["errors"][0]["status"]
    assert (status["code"], status["detail"]) == (404, {"statisticId": "zz", "field": "statisticIds"})


async def test_peek_with_unknown_ids_alone(client: httpx.AsyncClient) -> None:
    await client.post("/subscriptions", json=subscription(agent_item("a")))
    answer = await client.get("/subscriptions/UUID1/statistic-values?statisticIds=zz")
    assert (answer.status_code, answer.json()["status"]["code"]) == (404, 404)


async def test_peek_of_an_unknown_subscription(client: httpx.AsyncClient) -> None:
    answer = await client.get("/subscriptions/nope/statistic-values")
    assert (answer.status_code, answer.json()["status"]["code"]) == (404, 404)
    assert answer.json()["status"]["message"] == "id: expected a subscription of this login, got nope"


# -- delete ---------------------------------------------------------------------------------------------------------


async def test_delete_always_succeeds(client: httpx.AsyncClient, centre: Centre) -> None:
    unknown = await client.delete("/subscriptions/nope")
    await centre.server.stop_service("t")
    stopped = await client.request("DELETE", "/subscriptions/nope", content=b"", headers={"Content-Type": "application/json"})
    assert [a.status_code for a in (unknown, stopped)] == [200, 200]
    assert unknown.json() == stopped.json() == {"status": {"code": 0}}


# -- bodies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/subscriptions", "/operations/get-statistic-ex"])
@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"\xff\xfe", "body"),
        (b'{"data": NaN}', "body"),
        (b"[" * 5000, "body"),
        (b"[]", "body"),
        (b"null", "body"),
        (b'"text"', "body"),
        (b"{}", "data"),
        (b'{"data": null}', "data"),
        (b'{"data": []}', "data"),
        (b'{"data": {}}', "data.statistics"),
        (b'{"data": {"statistics": {}}}', "data.statistics"),
        (b'{"data": {"statistics": []}}', "data.statistics"),
        (b'{"data": {"statistics": "all"}}', "data.statistics"),
    ],
)
async def test_bodies_that_say_nothing(client: httpx.AsyncClient, path: str, body: bytes, field: str) -> None:
    answer = await client.post(path, content=body)
    status = answer.json()["status"]
    assert answer.status_code == status["code"] == 400
    assert status["detail"]["field"] == field
    assert status["message"].startswith(f"{field}: expected")


@pytest.mark.parametrize("operation_id", ["5", '""', "[]", '"a\\u0000"', '"' + "x" * 256 + '"'])
async def test_operation_ids_that_are_none(client: httpx.AsyncClient, operation_id: str) -> None:
    answer = await client.post("/subscriptions", content=f'{{"operationId": {operation_id}, "data": {{"statistics": [{{}}]}}}}')
    assert answer.status_code == 400
    assert answer.json()["status"]["message"].startswith("operationId: expected text of 1 to 255 characters")


async def test_a_missing_operation_id_is_made_up(client: httpx.AsyncClient) -> None:
    answer = await client.post("/subscriptions", json={"data": {"statistics": [agent_item()]}})
    data = answer.json()["data"]
    assert data["subscriptionId"] == data["operationId"]
    assert (await client.get(f"/subscriptions/{data['subscriptionId']}/statistic-values")).status_code == 200


async def test_a_body_that_is_too_large(client: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 1024

    answer = await client.post("/subscriptions", content=chunks())
    assert answer.status_code == 413
    assert answer.json()["status"]["message"] == f"body: expected at most {MAX_BODY} bytes, got more"


async def test_too_many_statistics(client: httpx.AsyncClient, centre: Centre) -> None:
    object.__setattr__(centre.server, "_settings", centre.settings.model_copy(update={"max_subscription_statistics": 1}))
    answer = await client.post("/subscriptions", json=subscription(agent_item("a"), agent_item("b")))
    assert answer.status_code == 400
    assert answer.json()["status"]["detail"] == {"field": "data.statistics"}


async def test_content_types_and_chunks_do_not_matter(client: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for part in SAMPLE_CREATE.split("\n"):
            yield part.encode()

    for kind in ("application/json;charset=UTF-8", "text/plain", "application/x-www-form-urlencoded"):
        headers = {"Content-Type": kind, "X-B3-TraceId": "1", "X-B3-SnapId": "2"}
        answer = await client.post("/subscriptions", content=chunks(), headers=headers)
        assert answer.status_code == 200


async def test_answers_are_ascii_json(client: httpx.AsyncClient) -> None:
    answer = await client.post("/subscriptions", json=subscription(agent_item("ä\U0001f642", agent="ñ"), operation_id="ü"))
    assert answer.content.isascii()
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["data"]["statistics"][0]["statisticId"] == "ä\U0001f642"
    assert (await client.get("/subscriptions/ü/statistic-values")).status_code == 200


async def test_unknown_members_of_a_definition_are_ignored(client: httpx.AsyncClient) -> None:
    answer = await client.post("/subscriptions", json=subscription(agent_item(objects="Agent", whatever=[1])))
    assert answer.json()["status"] == {"code": 0}


# -- who ------------------------------------------------------------------------------------------------------------


async def test_logins_of_one_subject_are_told_apart_by_the_cookie(client: httpx.AsyncClient) -> None:
    def with_cookie(value: str) -> dict[str, str]:
        return {"Cookie": f"STATISTICS_SESSIONID={value}"}

    await client.post("/subscriptions", json=subscription(agent_item("one")), headers=with_cookie("1"))
    await client.post("/subscriptions", json=subscription(agent_item("two")), headers=with_cookie("2"))
    path = "/subscriptions/UUID1/statistic-values"
    one = await client.get(path, headers=with_cookie("1"))
    assert one.json()["data"]["statistics"][0]["statisticId"] == "one"
    assert (await client.get(path)).status_code == 404
    assert (await client.get(path, headers=with_cookie("1") | {"Authorization": "Bearer foreign"})).status_code == 404


async def test_a_caller_with_the_cookie_reaches_what_was_opened_by_token_alone(client: httpx.AsyncClient, centre: Centre) -> None:
    await client.post("/subscriptions", json=subscription(agent_item()))
    cookie = {"Cookie": "STATISTICS_SESSIONID=1"}
    assert (await client.get("/subscriptions/UUID1/statistic-values", headers=cookie)).status_code == 200
    await client.delete("/subscriptions/UUID1", headers=cookie)
    assert (await centre.server.report("t")).subscriptions == 0


async def test_two_tokens_of_one_subject_are_two_logins(client: httpx.AsyncClient) -> None:
    await client.post("/subscriptions", json=subscription(agent_item()))
    second = await client.get("/subscriptions/UUID1/statistic-values", headers={"Authorization": "Bearer second"})
    assert second.status_code == 404


CALLS = [
    ("POST", "/statistics/v3/subscriptions"),
    ("GET", "/statistics/v3/subscriptions/x/statistic-values"),
    ("DELETE", "/statistics/v3/subscriptions/x"),
    ("GET", "/statistics/v3/statistic-values/InboundCalls"),
    ("POST", "/statistics/v3/operations/get-statistic-ex"),
    ("GET", "/api/v1/objects/Agent"),
    ("GET", "/api/v1/stat-server"),
    ("POST", "/api/v1/stat-server/stop"),
    ("POST", "/api/v1/stat-server/start"),
]


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_every_call_wants_a_good_credential(client: httpx.AsyncClient, method: str, path: str) -> None:
    url = f"http://hub{path}"
    wrong = await client.request(method, url, headers={"Authorization": "Bearer nobody"})
    assert (wrong.status_code, wrong.json()["status"]["code"]) == (401, 401)
    producer = await client.request(method, url, headers={"Authorization": "Bearer producer"})
    assert (producer.status_code, producer.json()["status"]["code"]) == (403, 403)
    key = await client.request(method, url, headers={"x-api-key": "nobody"})
    assert (key.status_code, key.json()) == (403, {"message": "Forbidden"})
    del client.headers["Authorization"]
    missing = await client.request(method, url)
    assert missing.status_code == 401


async def test_an_api_key_alone_will_do(client: httpx.AsyncClient) -> None:
    del client.headers["Authorization"]
    answer = await client.post("/subscriptions", content=SAMPLE_CREATE, headers={"x-api-key": "key"})
    assert answer.status_code == 200


async def test_who_may_read_may_not_subscribe(client: httpx.AsyncClient) -> None:
    client.headers["Authorization"] = "bearer dashboard"
    assert (await client.post("/subscriptions", content=SAMPLE_CREATE)).status_code == 403
    assert (await client.get("/statistic-values/InboundCalls?objectType=Agent&objectId=a")).status_code == 200


# -- objects and administration -------------------------------------------------------------------------------------


async def test_objects(client: httpx.AsyncClient, centre: Centre) -> None:
    await centre.feed(centre.event("cx.agent.login", agentId="ana"))
    answer = await client.get("http://hub/api/v1/objects/Agent")
    assert answer.json() == {"status": {"code": 0}, "data": {"objects": ["ana"]}}
    unknown = await client.get("http://hub/api/v1/objects/Robot")
    assert unknown.status_code == 400
    assert unknown.json()["status"]["detail"] == {"field": "objectType"}


async def test_stop_and_start(client: httpx.AsyncClient, centre: Centre) -> None:
    await client.post("/subscriptions", content=SAMPLE_CREATE)
    stopped = await client.post("http://hub/api/v1/stat-server/stop")
    assert stopped.json()["data"]["state"] == "UNAVAILABLE"
    refused = await client.post("/subscriptions", content=SAMPLE_CREATE)
    assert (refused.status_code, refused.json()["status"]["code"]) == (503, 503)
    for method, path in CALLS[1:2] + CALLS[5:6]:
        assert (await client.request(method, f"http://hub{path}")).status_code == 503
    started = await client.post("http://hub/api/v1/stat-server/start")
    assert started.json()["data"]["state"] == "AVAILABLE"
    assert (await client.get("/subscriptions/UUID1/statistic-values")).status_code == 404
    assert (await client.post("/subscriptions", content=SAMPLE_CREATE)).status_code == 200


async def test_a_start_that_fails(client: httpx.AsyncClient, centre: Centre) -> None:
    await client.post("http://hub/api/v1/stat-server/stop")
    await centre.log.close()
    answer = await client.post("http://hub/api/v1/stat-server/start")
    assert answer.status_code == 503
    assert "cannot be restored" in answer.json()["status"]["message"]


async def test_the_api_describes_itself(client: httpx.AsyncClient) -> None:
    document = (await client.get("http://hub/openapi.json")).json()
    assert set(document["paths"]) == {
        "/statistics/v3/subscriptions",
        "/statistics/v3/subscriptions/{id}/statistic-values",
        "/statistics/v3/subscriptions/{id}",
        "/statistics/v3/statistic-values/{statisticName}",
        "/statistics/v3/operations/get-statistic-ex",
        "/api/v1/objects/{objectType}",
        "/api/v1/stat-server",
        "/api/v1/stat-server/stop",
        "/api/v1/statistics/interactions/{id}",
        "/api/v1/stat-server/start",
    }
    references = set(_references(document))
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references <= known
    body = document["paths"]["/statistics/v3/subscriptions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    item = body["properties"]["data"]["properties"]["statistics"]["items"]
    assert {"statisticId", "objectId", "objectType", "name", "definition"} == set(item["properties"])


def _references(part: object) -> Iterable[str]:
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "$ref":
                yield value
            else:
                yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)
