"""Another tenant's id answers as if it did not exist: every route of the running application whose path has an id, with an id of the one
tenant in a request of the other's administrator.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from channels.families import FAMILIES
from channels.files.build import FILES
from hub.node import Node
from hub.ops.settings import model_of
from tests.channels.files.support import new_file
from tests.channels.messaging.support import SECRET, form, signature, text_from, text_to
from tests.support.ways import Way, every_way, headers, listener

TENANTS: Final = ("acme", "rival")
WITHIN_S: Final = 60
"""The longest time that a test waits for an expected event, in seconds."""

NO_IDS: Final = {
    "statisticName": "the name of a predefined statistic",
    "objectType": "Agent, Queue, ...",
    "event_type": "a type of events",
    "openMediaService": "the name of a service, which any tenant may use",
    "number": "the number of an attachment within a mail",
    "rest": "what no other route has taken",
}
"""Parameters of paths that name what all tenants have in common."""

TAKEN: Final = "taken-by-the-other-tenant"

BODIES: Final[dict[str, Any]] = {
    "GET /api/v1/channels/{channel:path}": None,
    "GET /api/v1/sessions/{id}": None,
    "DELETE /api/v1/sessions/{id}": None,
    "GET /api/v1/endpoints/{id}": None,
    "PATCH /api/v1/endpoints/{id}": {"description": TAKEN},
    "DELETE /api/v1/endpoints/{id}": None,
    "POST /api/v1/endpoints/{id}/rotate-secret": None,
    "POST /api/v1/endpoints/{id}/send-example": {},
    "POST /api/v1/endpoints/{id}/replay": {"since": 1},
    "GET /api/v1/users/{name:path}": None,
    "PATCH /api/v1/users/{name:path}": {"email": f"{TAKEN}@example.com"},
    "DELETE /api/v1/users/{name:path}": None,
    "GET /api/v1/roles/{name}": None,
    "PUT /api/v1/roles/{name}": {"grants": [{"action": "subscribe", "within": [f"/{TAKEN}"]}]},
    "DELETE /api/v1/roles/{name}": None,
    "GET /api/v1/clients/{id}": None,
    "PATCH /api/v1/clients/{id}": {"name": TAKEN},
    "POST /api/v1/clients/{id}/secrets": None,
    "DELETE /api/v1/clients/{id}/secrets/old": None,
    "DELETE /api/v1/clients/{id}": None,
    "GET /api/v1/keys/{name:path}": None,
    "DELETE /api/v1/keys/{name:path}": None,
    "POST /api/v1/keys/{name:path}/rotate": None,
    "GET /api/v1/tokens/{id}": None,
    "DELETE /api/v1/tokens/{id}": None,
    "GET /api/v1/deliveries/{id}": None,
    "POST /api/v1/deliveries/{id}/replay": None,
    "GET /statistics/v3/subscriptions/{id}/statistic-values": None,
    "DELETE /statistics/v3/subscriptions/{id}": None,
    "DELETE /api/v1/statistics/interactions/{id:path}": None,
    "GET /nexus/v3/openmedia/{openMediaService}/interactions/ext_{externalId:path}": None,
    "POST /nexus/v3/openmedia/{openMediaService}/interactions/ext_{externalId:path}/update": {"data": {"addedProperties": {"b": TAKEN}}},
    "POST /nexus/v3/openmedia/{openMediaService}/interactions/ext_{externalId:path}/stop": {},
    "GET /nexus/v3/openmedia/{openMediaService}/interactions/{interactionId}": None,
    "POST /nexus/v3/openmedia/{openMediaService}/interactions/{interactionId}/update": {"data": {"addedProperties": {"b": TAKEN}}},
    "POST /nexus/v3/openmedia/{openMediaService}/interactions/{interactionId}/stop": {},
    "GET /nexus/v3/interactions/{interactionId:path}": None,
    "GET /api/v1/interactions/{interactionId:path}/files": None,
    "GET /api/v1/files/{fileId}": None,
    "DELETE /api/v1/files/{fileId}": None,
    "GET /api/v1/interactions/{interactionId:path}/transcript": None,
    "DELETE /api/v1/participants/{participantId}": None,
    "POST /api/v1/participants/{participantId}/messages": {"content": TAKEN},
    "GET /nexus/v3/securemail/{secureMailId}": None,
    "DELETE /nexus/v3/securemail/{secureMailId}": None,
    "GET /nexus/v3/securemail/{secureMailId}/userdata": None,
    "GET /nexus/v3/securemail/{secureMailId}/attachments/{number}": None,
    "GET /api/v1/messaging/channels/{channelId}": None,
    "PATCH /api/v1/messaging/channels/{channelId}": {"webhook": f"http://127.0.0.1:9/{TAKEN}"},
    "DELETE /api/v1/messaging/channels/{channelId}": None,
    "POST /api/v1/messaging/channels/{channelId}/rotate-secret": None,
    "POST /api/v1/messaging/channels/{channelId}/messages": text_to(TAKEN),
    "GET /api/v1/messaging/channels/{channelId}/messages": None,
    "GET /api/v1/messaging/channels/{channelId}/messages/{messageId}": None,
    "POST /api/v1/messaging/channels/{channelId}/media": TAKEN.encode(),
    "GET /api/v1/messaging/channels/{channelId}/media/{mediaId}": None,
    "DELETE /api/v1/messaging/channels/{channelId}/media/{mediaId}": None,
    "POST /nexus/v3/channels/{channelId}/messages": {"messages": [text_from(TAKEN)]},
    "POST /nexus/v3/channels/{channelId}/media": TAKEN.encode(),
    "GET /nexus/v3/channels/{channelId}/media/{mediaId}": None,
    "DELETE /nexus/v3/channels/{channelId}/media/{mediaId}": None,
    **{
        f"{method} /via/v{version}/organizations/{{orgId}}/mediaStorage/data/{call}": None
        for method, version, call in (
            ("GET", 2, "objectKeys"),
            ("DELETE", 2, "objectKeys"),
            ("GET", 3, "objectKeys"),
            ("DELETE", 3, "objectKeys"),
            ("GET", 3, "signedUploadUrl"),
            ("GET", 3, "signedDownloadUrl"),
        )
    },
    "PUT /attached-files/{InstanceId}": {"FileName": f"{TAKEN}.txt", "FileSizeInBytes": 1, "FileUseCaseType": "ATTACHMENT"},
    "POST /attached-files/{InstanceId}": {"FileIds": [TAKEN]},
    "POST /attached-files/{InstanceId}/{FileId}": None,
    "GET /attached-files/{InstanceId}/{FileId}": None,
    "DELETE /attached-files/{InstanceId}/{FileId}": None,
}
"""Every route whose path has an id, and a body with which nothing but the id can be wrong; bytes are a file in a form."""

OF_RESOURCE: Final = "?associatedResourceArn=arn:aws:cases:us-east-1:000000000000:domain/hub/case/1"
"""To what a file is attached; every call for attached files says it."""

QUERIES: Final = {"/via/": "?key=imports%2Fa.txt&keyType=file", "/attached-files/": OF_RESOURCE}
"""The queries of routes that need one, by the beginning of the path."""

ALWAYS_200: Final = {
    "GET /api/v1/channels/{channel:path}": "a channel exists as soon as it is named",
    **dict.fromkeys(("PUT /api/v1/roles/{name}", "GET /api/v1/roles/{name}"), "the former adds a role of the caller's own tenant"),
    "DELETE /statistics/v3/subscriptions/{id}": "to end what is not there is no error",
    "GET /api/v1/interactions/{interactionId:path}/files": "an interaction without files, known or not, has none",
}
"""Routes that answer 200 to any id, and why."""

BY_FOLDER: Final = "/via/"
"""Below it a call asks for the operation of the folder that it names."""

SIGNED: Final = "/nexus/v3/channels/"
"""Below it third parties sign what they send with the secret of a channel of the tenant that ``x-ccid`` names."""

MAIL: Final = "ana@example.com"
FIRST: Final = "0123456789"

_EACH_TIME_NEW: Final = re.compile(r'"(referenceId|operationId|at|durationMs|timestamp|createdMs)":("[^"]*"|[0-9]+)')


@dataclass
class Office:
    """Two tenants, of which acme has one object of each kind."""

    node: Node
    client: httpx.AsyncClient
    shown: dict[str, dict[str, str]]
    ids: dict[str, str] = field(default_factory=dict)
    """The ids of acme's objects, by the name of the parameter; where many call theirs ``id`` or ``name``, by the segment before it."""

    async def call(self, tenant: str, method: str, url: str, body: Any = None) -> httpx.Response:
        shown = dict(self.shown[tenant])
        sent: dict[str, Any] = {} if body is None else {"json": body}
        if isinstance(body, bytes):
            content, kind = form(body, declared="text/plain")
            sent, shown = {"content": content}, shown | kind
        if url.startswith(SIGNED):
            request = self.client.build_request(method, url, **sent)
            del shown["Authorization"]
            shown |= {"x-ccid": tenant, "X-Hub-Signature": signature(request.content)}
        return await self.client.request(method, url, headers=shown, **sent)

    async def make(self, url: str, body: Any, *keys: str) -> str:
        """Have acme make something; returns its id, which the answer has at ``keys``."""
        answer = await self.call("acme", "POST", url, body)
        assert answer.status_code == 200, answer.text
        found: Any = answer.json()
        for key in keys:
            found = found[key]
        return str(found)

    def url(self, way: Way, *, exists: bool) -> str:
        """The URL of a route for the object of acme, or for one that nobody has."""

        def put(parameter: re.Match[str]) -> str:
            name = parameter[1].partition(":")[0]
            if name in NO_IDS:
                return "1"
            own = self.ids[way.path[: parameter.start()].rstrip("/").rpartition("/")[2] if name in {"id", "name"} else name]
            if exists:
                return own
            return f"9{own}" if own.isdecimal() else re.sub(r"[0-9a-f]", lambda digit: "0" if digit[0] != "0" else "9", own)

        query = next((query for path, query in QUERIES.items() if way.path.startswith(path)), "")
        return re.sub(r"\{([^}]*)\}", put, way.path) + query


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    settings = model_of(FAMILIES)(data_dir=tmp_path, outbox={"allowed_networks": ["127.0.0.0/8"]}, administration={"changes_per_s": 0})
    node = Node(settings, FAMILIES)
    async with node._lifespan(None):
        for tenant in TENANTS:
            await node.security.store.add_tenant(tenant)
        shown = {tenant: await headers(node, "admin", tenant) for tenant in TENANTS}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(node.app), base_url="http://127.0.0.1:8080") as client:
            made = Office(node, client, shown)
            await _fill(made)
            yield made


async def _fill(office: Office) -> None:
    """Make one object of each kind in acme."""
    ids = office.ids
    session = await listener(office.node, "admin", "acme")
    await office.node.hub.subscriptions.subscribe(session, ["/of/acme"])
    ids |= {"sessions": session.public_id, "channel": "of/acme", "externalId": "ext-1"}
    ids["endpoints"] = await office.make("/api/v1/endpoints", {"url": "http://127.0.0.1:9/x"}, "data", "id")
    ids["users"] = await office.make("/api/v1/users", {"name": "ana", "password": "correct horse", "roles": ["viewer"]}, "data", "name")
    client = {"id": "acme-client", "grants": ["client_credentials"], "roles": ["viewer"]}
    ids["clients"] = await office.make("/api/v1/clients", client, "data", "id")
    ids["keys"] = await office.make("/api/v1/keys", {"name": "acme-key", "roles": ["viewer"]}, "data", "name")
    ids["tokens"] = await office.make("/api/v1/tokens", {"subject": "board", "roles": ["viewer"]}, "data", "id")
    role = await office.call("acme", "PUT", "/api/v1/roles/acme-role", {"grants": [{"action": "subscribe", "within": ["/a"]}]})
    ids["roles"] = role.json()["data"]["name"]
    statistic = {"statisticId": "s", "objectId": "a", "objectType": "Agent", "name": "InboundCalls"}
    asked = {"operationId": "op-1", "data": {"statistics": [statistic]}}
    ids["subscriptions"] = await office.make("/statistics/v3/subscriptions", asked, "data", "subscriptionId")
    opened = {"data": {"externalId": "ext-1", "userData": {"a": "1"}}}
    ids["interactionId"] = await office.make("/nexus/v3/openmedia/1/interactions", opened, "data", "id")
    ids["interactions"] = ids["interactionId"]
    customer = {"interactionId": ids["interactionId"], "role": "CUSTOMER", "displayName": "Ana"}
    ids["participantId"] = await office.make("/api/v1/participants", customer, "data", "participantId")
    mail = {"data": {"from": MAIL, "text": "Hello", "attachments": [{"filename": "a.txt", "content": "aGk="}]}}
    ids["secureMailId"] = await office.make("/nexus/v3/securemail", mail, "secureMailId")
    channel = {"id": FIRST, "type": "sms", "webhook": "http://127.0.0.1:9/x", "sender": {"id": "Shop"}, "secret": SECRET}
    ids["channelId"] = await office.make("/api/v1/messaging/channels", channel, "data", "id")
    ids["messageId"] = await office.make(f"/api/v1/messaging/channels/{FIRST}/messages", text_to(), "data", "id")
    ids["orgId"] = "acme"
    link = await office.call("acme", "GET", "/via/v3/organizations/acme/mediaStorage/data/signedUploadUrl?key=imports%2Fa.txt")
    assert (await office.client.put(link.json()["signedUploadUrl"], content=b"hi")).status_code == 200
    ids["mediaId"] = await office.make(f"/api/v1/messaging/channels/{FIRST}/media", b"hi", "data", "mediaId")
    new = new_file(interaction_id=ids["interactionId"])
    ids["fileId"] = (await office.node.context.one(FILES).start(new, "http://hub.test"))[0].id
    ids["InstanceId"] = "acme"
    attached = {"FileName": "a.txt", "FileSizeInBytes": 1, "FileUseCaseType": "ATTACHMENT"}
    ids["FileId"] = (await office.call("acme", "PUT", f"/attached-files/acme{OF_RESOURCE}", attached)).json()["FileId"]
    async with asyncio.timeout(WITHIN_S):
        while not (found := (await office.call("acme", "GET", "/api/v1/deliveries")).json()["data"]["deliveries"]):
            await asyncio.sleep(0.05)
    ids["deliveries"] = str(found[0]["id"])


def ways_to_objects(node: Node) -> list[Way]:
    """The routes whose path has an id."""
    return [way for way in every_way(node) if any(name.partition(":")[0] not in NO_IDS for name in re.findall(r"\{([^}]*)\}", way.path))]


def said(answer: httpx.Response, url: str) -> tuple[int, str]:
    """What an answer says, but for the id that was asked for and what is new each time."""
    text = _EACH_TIME_NEW.sub("", answer.text)
    for part in sorted({*url.split("/"), *re.split("[/_?]", url)}, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(part)}(?!\w)", "", text)
    return answer.status_code, text


async def test_ids_of_another_tenant_answer_as_if_they_did_not_exist(office: Office) -> None:
    ways = ways_to_objects(office.node)
    seen = {way: await office.call("acme", "GET", office.url(way, exists=True)) for way in ways if way.method == "GET"}
    assert {way.name: answer.status_code for way, answer in seen.items() if answer.status_code != 200} == {}
    for way in ways:
        body = BODIES[way.name]
        own, nobodys = office.url(way, exists=True), office.url(way, exists=False)
        answers = [said(await office.call("rival", way.method, url, body), url) for url in (own, nobodys)]
        assert answers[0] == answers[1], way
        expected = {200} if way.name in ALWAYS_200 else {401, 403, 404} if way.operation is None else {404}
        assert answers[0][0] in expected, (way, answers)
    for way in seen:  # all is still there, and nothing is as the other tenant wanted it
        again = await office.call("acme", "GET", office.url(way, exists=True))
        assert again.status_code == 200, way
        assert TAKEN not in again.text, way


async def test_lists_of_another_tenant_have_nothing(office: Office) -> None:
    for way in every_way(office.node):
        if way.method == "GET" and way.operation is not None and "{" not in way.path and way.path != "/metrics":
            answer = await office.call("rival", "GET", f"{way.path}?address={MAIL}" if "securemail" in way.path else way.path)
            for kind, identifier in office.ids.items():
                if kind not in {"channelId", "deliveries"}:
                    assert f'"{identifier}"' not in answer.text, (way, kind)
