"""Amazon's clients for Connect begin chats, in which those for its Participant service talk: boto3 and the SDK of JavaScript."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hub.objects.instances import instance_id
from tests.clients.connect import Client, NodeClient, PythonClient, Refused
from tests.clients.test_participants import KINDS, amazon
from tests.conftest import HubFactory
from tests.hub.cluster.processes import wait_until
from tests.support.hub_process import HubProcess
from tests.support.puppet import PuppetProcess

pytestmark = pytest.mark.node

Open = Callable[[str, str], Client]

KEY, SECRET = "AKIAHUBDEMO", "demo-secret"
INSTANCE = instance_id("demo")
PLAIN = "text/plain"
NEW: dict[str, Any] = {"InstanceId": INSTANCE, "ContactFlowId": "flow", "ParticipantDetails": {"DisplayName": "Ana"}}


@pytest.fixture(params=["boto3", "javascript"])
def open_client(request: pytest.FixtureRequest, shared_process: Callable[[str], PuppetProcess]) -> Open:
    """Makes a client of a hub at a URL, with the demo's access key and a secret."""

    def open_one(url: str, secret: str) -> Client:
        if request.param == "boto3":
            return PythonClient(url, KEY, secret)
        return NodeClient(shared_process("connect.mjs").client(), url, KEY, secret)

    return open_one


def refused(client: Client, **fields: Any) -> tuple[int, str, str]:
    """Status, type, and the beginning of the message of a call that must be refused with a type that the client knows."""
    with pytest.raises(Refused) as caught:
        client.call("chat", **{**NEW, **fields})
    error = caught.value
    assert error.request_id
    return error.status, error.kind, error.message.partition(":")[0]


def test_a_chat_from_beginning_to_end(demo_hub: HubProcess, open_client: Open) -> None:
    client = open_client(demo_hub.url, SECRET)
    started = client.call(
        "chat",
        **NEW,
        Attributes={"order": "4711 日"},
        InitialMessage={"ContentType": PLAIN, "Content": "hällo 日"},
        SupportedMessagingContentTypes=[PLAIN, "text/markdown"],
        ChatDurationInMinutes=60,
    )
    assert set(started) == {"ContactId", "ParticipantId", "ParticipantToken"}
    talk = amazon(demo_hub)
    connection = talk.create_participant_connection(ParticipantToken=started["ParticipantToken"], Type=KINDS)
    token = connection["ConnectionCredentials"]["ConnectionToken"]
    talk.send_message(ConnectionToken=token, ContentType=PLAIN, Content="still there?")
    items = talk.get_transcript(ConnectionToken=token, SortOrder="ASCENDING")["Transcript"]
    said = [(item["Content"], item["ParticipantId"], item["ContactId"]) for item in items if item["Type"] == "MESSAGE"]
    assert said == [(text, started["ParticipantId"], started["ContactId"]) for text in ("hällo 日", "still there?")]
    with pytest.raises(talk.exceptions.ValidationException):
        talk.send_message(ConnectionToken=token, ContentType="application/json", Content="{}")
    talk.disconnect_participant(ConnectionToken=token)
    with pytest.raises(talk.exceptions.AccessDeniedException):
        talk.get_transcript(ConnectionToken=token)


def test_the_interaction_of_a_chat(demo_hub: HubProcess, open_client: Open) -> None:
    """What was said of the chat is in the user data of its interaction, which the hub tells of."""
    started = open_client(demo_hub.url, SECRET).call("chat", **NEW, Attributes={"order": "4711 日" * 3_000}, CustomerId="c-1")
    path = f"/nexus/v3/interactions/{started['ContactId']}"
    wait_until(lambda: demo_hub.get(path).status_code == 200)
    data = demo_hub.get(path).json()["data"]
    assert data["mediaType"] == "chat"
    assert data["userData"] == {"order": "4711 日" * 3_000, "connect:ContactFlowId": "flow", "connect:CustomerId": "c-1"}


def test_the_same_token_is_the_same_chat_after_a_power_cut(hub_process: HubFactory, open_client: Open) -> None:
    hub = hub_process()
    fields = {**NEW, "ClientToken": "t1", "InitialMessage": {"ContentType": PLAIN, "Content": "once"}}
    first = open_client(hub.url, SECRET).call("chat", **fields)
    hub.kill9()
    hub.start()
    client = open_client(hub.url, SECRET)
    again = client.call("chat", **fields)
    assert (again["ContactId"], again["ParticipantId"]) == (first["ContactId"], first["ParticipantId"])
    talk = amazon(hub)
    connection = talk.create_participant_connection(ParticipantToken=again["ParticipantToken"], Type=KINDS)
    items = talk.get_transcript(ConnectionToken=connection["ConnectionCredentials"]["ConnectionToken"])["Transcript"]
    assert [item["Content"] for item in items if item["Type"] == "MESSAGE"] == ["once"]
    assert refused(client, ClientToken="t1", ContactFlowId="another") == (400, "InvalidRequestException", "ClientToken")


def test_what_is_refused(demo_hub: HubProcess, open_client: Open) -> None:
    client = open_client(demo_hub.url, SECRET)
    invalid = (400, "InvalidRequestException")
    persistent = {"RehydrationType": "FROM_SEGMENT", "SourceContactId": "c"}
    assert refused(client, PersistentChat=persistent) == (*invalid, "PersistentChat")
    assert refused(client, ChatDurationInMinutes=20_000) == (*invalid, "ChatDurationInMinutes")
    assert refused(client, SupportedMessagingContentTypes=["text/markdown"]) == (*invalid, "SupportedMessagingContentTypes")
    assert refused(client, InstanceId=instance_id("another")) == (404, "ResourceNotFoundException", "InstanceId")
    wrong = refused(open_client(demo_hub.url, "wrong"))
    assert wrong[:2] == (403, "InvalidSignatureException")
