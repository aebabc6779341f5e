"""Clients of Amazon Connect's Participant service, unmodified, against a hub: boto3, the AWS SDK for JavaScript, and chatjs in Chromium."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ParamValidationError
from playwright.async_api import BrowserContext, Page, Route, expect

from tests.clients.conftest import NodeFactory, serve_library
from tests.conftest import HubFactory
from tests.support.hub_process import HubProcess

PATIENCE_MS = 60_000
"""How long a page may take on a machine that does much else."""

WITHIN_S = 60.0
KINDS = ["WEBSOCKET", "CONNECTION_CREDENTIALS"]
EVENT = "application/vnd.amazonaws.connect.event."


def let_in(hub: HubProcess, *, role: str = "CUSTOMER", name: str = "Ana", **more: Any) -> dict[str, Any]:
    """Somebody who was let into a chat."""
    answer = hub.post("/api/v1/participants", {"role": role, "displayName": name, **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["data"]
    return found


def amazon(hub: HubProcess) -> Any:
    """boto3's client."""
    return boto3.client(
        "connectparticipant",
        endpoint_url=hub.url,
        region_name="us-east-1",
        aws_access_key_id="unused",
        aws_secret_access_key="unused",
        config=Config(retries={"total_max_attempts": 1}),
    )


def refusal(call: Callable[..., Any], **fields: Any) -> tuple[int, str]:
    """With what a call of boto3 is refused: the status, and the name of the exception's class."""
    with pytest.raises(ClientError) as refused:
        call(**fields)
    response = refused.value.response
    assert response["Error"]["Code"] == type(refused.value).__name__  # one that the service's model has
    assert response["Error"]["Message"]
    return response["ResponseMetadata"]["HTTPStatusCode"], type(refused.value).__name__


def test_boto3(demo_hub: HubProcess) -> None:
    ana, client = let_in(demo_hub), amazon(demo_hub)
    connection = client.create_participant_connection(ParticipantToken=ana["participantToken"], Type=KINDS)
    assert set(connection) - {"ResponseMetadata"} == {"Websocket", "ConnectionCredentials"}
    token = connection["ConnectionCredentials"]["ConnectionToken"]
    sent = client.send_message(ConnectionToken=token, ContentType="text/plain", Content="hällo 日", ClientToken="t1")
    again = client.send_message(ConnectionToken=token, ContentType="text/plain", Content="hällo 日", ClientToken="t1")
    assert (sent["Id"], sent["AbsoluteTime"]) == (again["Id"], again["AbsoluteTime"])
    typing = client.send_event(ConnectionToken=token, ContentType=f"{EVENT}typing")
    assert typing["Id"]
    fields = {"AttachmentName": "Rechnung 日.txt", "AttachmentSizeInBytes": 5, "ContentType": "text/plain", "ClientToken": "t2"}
    started = client.start_attachment_upload(ConnectionToken=token, **fields)
    identifier, upload = started["AttachmentId"], started["UploadMetadata"]
    complete = {"ConnectionToken": token, "AttachmentIds": [identifier], "ClientToken": "t3"}
    assert refusal(client.complete_attachment_upload, **complete) == (400, "ValidationException")
    assert httpx.put(upload["Url"], content=b"hello", headers=upload["HeadersToInclude"], timeout=WITHIN_S).status_code == 200
    client.complete_attachment_upload(**complete)
    link = client.get_attachment(ConnectionToken=token, AttachmentId=identifier)
    assert (link["AttachmentSizeInBytes"], httpx.get(link["Url"], timeout=WITHIN_S).content) == (5, b"hello")
    items = client.get_transcript(ConnectionToken=token, SortOrder="ASCENDING")["Transcript"]
    assert [item["Type"] for item in items][:2] == ["EVENT", "MESSAGE"]
    assert (items[1]["Content"], items[1]["ParticipantRole"], items[1]["ContactId"]) == ("hällo 日", "CUSTOMER", ana["interactionId"])
    page = client.get_transcript(ConnectionToken=token, MaxResults=1)
    assert page["NextToken"]
    client.disconnect_participant(ConnectionToken=token)
    assert refusal(client.get_transcript, ConnectionToken=token) == (403, "AccessDeniedException")
    assert refusal(client.create_participant_connection, ParticipantToken=ana["participantToken"], Type=KINDS) == (
        403,
        "AccessDeniedException",
    )


def test_what_boto3_is_refused(demo_hub: HubProcess) -> None:
    ana, client = let_in(demo_hub), amazon(demo_hub)
    connection = client.create_participant_connection(ParticipantToken=ana["participantToken"], Type=["CONNECTION_CREDENTIALS"])
    token = connection["ConnectionCredentials"]["ConnectionToken"]
    start = {"ConnectionToken": token, "AttachmentName": "a.txt", "ContentType": "text/plain", "ClientToken": "t"}
    with pytest.raises(ParamValidationError):
        client.start_attachment_upload(AttachmentSizeInBytes=0, **start)
    denied, invalid = (403, "AccessDeniedException"), (400, "ValidationException")
    assert refusal(client.send_message, ConnectionToken="nonsense", ContentType="text/plain", Content="x") == denied
    assert refusal(client.send_message, ConnectionToken=ana["participantToken"], ContentType="text/plain", Content="x") == denied
    assert refusal(client.send_message, ConnectionToken=token, ContentType="text/html", Content="x") == invalid
    assert refusal(client.send_message, ConnectionToken=token, ContentType="text/plain", Content="x" * 20_000) == invalid
    assert refusal(client.start_attachment_upload, AttachmentSizeInBytes=30 * 1024 * 1024, **start) == invalid
    assert refusal(client.get_attachment, ConnectionToken=token, AttachmentId="nope") == invalid
    assert refusal(client.get_transcript, ConnectionToken=token, ContactId="another") == denied
    unknown = httpx.post(f"{demo_hub.url}/participant/nothing", timeout=WITHIN_S)
    other_method = httpx.get(f"{demo_hub.url}/participant/message", timeout=WITHIN_S)
    for answer, status in ((unknown, 404), (other_method, 405)):
        assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (status, "ValidationException")
        assert answer.json()["__type"] == "ValidationException"


@pytest.mark.node
def test_the_sdk_for_javascript(demo_hub: HubProcess, node: NodeFactory) -> None:
    client = node("participant.mjs")
    client.call("open", {"url": demo_hub.url})
    ana = let_in(demo_hub)
    made = client.call("call", "CreateParticipantConnection", {"ParticipantToken": ana["participantToken"], "Type": KINDS})
    token = made["answer"]["ConnectionCredentials"]["ConnectionToken"]
    named = {"ConnectionToken": token}
    assert client.call("call", "SendMessage", {**named, "ContentType": "text/plain", "Content": "日"})["status"] == 200
    fields = {"AttachmentName": "a.txt", "AttachmentSizeInBytes": 5, "ContentType": "text/plain"}
    started = client.call("call", "StartAttachmentUpload", {**named, **fields})["answer"]
    upload = started["UploadMetadata"]
    early = client.call("call", "CompleteAttachmentUpload", {**named, "AttachmentIds": [started["AttachmentId"]]})
    assert (early["status"], early["name"]) == (400, "ValidationException")
    assert client.call("put", {"url": upload["Url"], "headers": upload["HeadersToInclude"], "text": "hello"}) == 200
    assert client.call("call", "CompleteAttachmentUpload", {**named, "AttachmentIds": [started["AttachmentId"]]})["status"] == 200
    link = client.call("call", "GetAttachment", {**named, "AttachmentId": started["AttachmentId"]})["answer"]
    assert httpx.get(link["Url"], timeout=WITHIN_S).content == b"hello"
    page = client.call("call", "GetTranscript", {**named, "SortOrder": "ASCENDING"})["answer"]
    assert page["Transcript"][1]["Content"] == "日"
    assert client.call("call", "DisconnectParticipant", named)["status"] == 200
    refused = client.call("call", "GetTranscript", named)
    assert (refused["status"], refused["name"]) == (403, "AccessDeniedException")
    assert "left" in refused["message"]


def test_curl_lines_of_the_documentation(demo_hub: HubProcess) -> None:
    """The request as Amazon's page of StartAttachmentUpload has it: no signature, the names of fields, the answer's members."""
    ana = let_in(demo_hub)
    made = amazon(demo_hub).create_participant_connection(ParticipantToken=ana["participantToken"], Type=["CONNECTION_CREDENTIALS"])
    headers = {"X-Amz-Bearer": made["ConnectionCredentials"]["ConnectionToken"], "Content-type": "application/json"}
    body = b'{ "AttachmentName": "a.txt", "AttachmentSizeInBytes": 5, "ClientToken": "t1", "ContentType": "text/plain" }'
    answer = httpx.post(f"{demo_hub.url}/participant/start-attachment-upload", headers=headers, content=body, timeout=WITHIN_S)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    found = answer.json()
    assert set(found) == {"AttachmentId", "UploadMetadata"}
    assert set(found["UploadMetadata"]) == {"HeadersToInclude", "Url", "UrlExpiry"}
    assert found["UploadMetadata"]["HeadersToInclude"] == {"Content-Type": "text/plain", "Content-Length": "5"}


def test_nothing_that_was_answered_is_lost(hub_process: HubFactory) -> None:
    """A power cut right behind the answers: what was said is in the transcript once, and the interaction is told."""
    hub = hub_process()
    ana, client = let_in(hub), amazon(hub)
    token = client.create_participant_connection(ParticipantToken=ana["participantToken"], Type=KINDS)["ConnectionCredentials"][
        "ConnectionToken"
    ]
    sent = [
        client.send_message(ConnectionToken=token, ContentType="text/plain", Content=str(n), ClientToken=str(n))["Id"] for n in range(10)
    ]
    hub.kill9()
    hub.start()
    again = client.send_message(ConnectionToken=token, ContentType="text/plain", Content="9", ClientToken="9")
    assert again["Id"] == sent[-1]
    items = client.get_transcript(ConnectionToken=token, SortOrder="ASCENDING", MaxResults=100)["Transcript"]
    assert [item["Id"] for item in items if item["Type"] == "MESSAGE"] == sent
    listed = hub.get(f"/nexus/v3/interactions/{ana['interactionId']}")
    assert (listed.status_code, listed.json()["data"]["mediaType"]) == (200, "chat")


# -- chatjs in Chromium -----------------------------------------------------------------------------------------------------


def address(hub: HubProcess) -> str:
    """The hub by its address: chatjs opens no WebSocket without TLS but to 127.0.0.1."""
    return f"http://127.0.0.1:{hub.port}"


async def open_chat(context: BrowserContext, origin: str, hub: HubProcess, details: dict[str, Any]) -> Page:
    """A page of ``origin`` that has connected to a chat."""
    page = await context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    await page.route("**/cometd-test/**", serve_library)
    await page.goto(f"{origin}/cometd-test/chat.html")
    await page.wait_for_function("window.loaded")
    assert await page.evaluate("([url, details]) => window.start(url, details)", [address(hub), details])
    await page.wait_for_function("window.events.includes('established')")
    return page


class Desk:
    """An agent, who answers by boto3."""

    def __init__(self, hub: HubProcess, contact: str) -> None:
        self._client = amazon(hub)
        made = let_in(hub, role="AGENT", name="Ben", interactionId=contact)
        connection = self._client.create_participant_connection(ParticipantToken=made["participantToken"], Type=KINDS)
        self._token = connection["ConnectionCredentials"]["ConnectionToken"]

    def say(self, text: str) -> None:
        self._client.send_message(ConnectionToken=self._token, ContentType="text/plain", Content=text)

    def items(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._client.get_transcript(ConnectionToken=self._token, MaxResults=100, SortOrder="ASCENDING")[
            "Transcript"
        ]
        return found


async def talk(page: Page, desk: Desk) -> None:
    """Messages both ways, an attachment there and back, and the end."""
    said = await page.evaluate("window.say('hällo 日')")
    assert said["answer"]["Id"]
    await page.wait_for_function("window.items.some((item) => item.Content === 'hällo 日')")
    desk.say("good morning")
    await page.wait_for_function("window.items.some((item) => item.Content === 'good morning' && item.ParticipantRole === 'AGENT')")
    assert (await page.evaluate("window.typing()"))["answer"]["Id"]
    attached = await page.evaluate("window.attach('Rechnung 日.txt', 'text/plain', 'hello')")
    assert "refused" not in attached, attached
    await page.wait_for_function("window.items.some((item) => item.Type === 'ATTACHMENT')")
    item = await page.evaluate("window.items.find((item) => item.Type === 'ATTACHMENT')")
    (file,) = item["Attachments"]
    assert (file["AttachmentName"], file["Status"]) == ("Rechnung 日.txt", "APPROVED")
    assert await page.evaluate("id => window.download(id)", file["AttachmentId"]) == "hello"
    assert "/files/v1/" in await page.evaluate("id => window.attachmentUrl(id)", file["AttachmentId"])
    transcript = (await page.evaluate("window.transcript()"))["answer"]["Transcript"]
    assert [each["Id"] for each in transcript] == [each["Id"] for each in desk.items()]
    assert "refused" not in await page.evaluate("window.leave()")
    await page.wait_for_function("window.events.includes('ended')")


@pytest.mark.browser
@pytest.mark.node
@pytest.mark.asyncio(loop_scope="session")
async def test_chatjs(demo_hub: HubProcess, browser_context: BrowserContext) -> None:
    ana = let_in(demo_hub)
    page = await open_chat(browser_context, address(demo_hub), demo_hub, ana)
    await talk(page, Desk(demo_hub, ana["interactionId"]))


@pytest.mark.browser
@pytest.mark.node
@pytest.mark.asyncio(loop_scope="session")
async def test_chatjs_of_another_origin(hub_process: HubFactory, browser_context: BrowserContext) -> None:
    """The token is the credential: pages of any site may talk. Only a demo, whose credentials everybody knows, asks for the origin."""
    hub = hub_process("--demo", environment={"HUB_ALLOWED_ORIGINS": "http://shop.example"})
    ana = let_in(hub)
    page = await open_chat(browser_context, "http://shop.example", hub, ana)
    await talk(page, Desk(hub, ana["interactionId"]))


@pytest.mark.browser
@pytest.mark.node
@pytest.mark.asyncio(loop_scope="session")
async def test_chatjs_is_told_of_an_upload_that_failed(demo_hub: HubProcess, browser_context: BrowserContext) -> None:
    """It does not look at the answer to its upload, and completes: that is what is refused."""
    ana = let_in(demo_hub)
    page = await open_chat(browser_context, address(demo_hub), demo_hub, ana)

    async def refuse(route: Route) -> None:
        await route.fulfill(status=403, headers={"access-control-allow-origin": "*"})

    await page.route("**/files/v1/**", refuse)
    assert (await page.evaluate("window.attach('a.txt', 'text/plain', 'hello')"))["refused"] == "ValidationException"
    assert await page.evaluate("window.items.filter((item) => item.Type === 'ATTACHMENT').length") == 0


@pytest.mark.browser
@pytest.mark.node
@pytest.mark.asyncio(loop_scope="session")
async def test_chatjs_comes_back_after_a_power_cut(hub_process: HubFactory, browser_context: BrowserContext) -> None:
    hub = hub_process()
    ana = let_in(hub)
    page = await open_chat(browser_context, address(hub), hub, ana)
    desk = Desk(hub, ana["interactionId"])
    desk.say("before")
    await page.wait_for_function("window.items.some((item) => item.Content === 'before')")
    hub.kill9()
    await page.wait_for_function("window.events.includes('lost')")
    hub.start()
    # it tries again after two seconds, and gives up if nobody answers then: the page begins anew, by the same token
    back = "window.events.lastIndexOf('established') > window.events.indexOf('lost')"
    await page.wait_for_function(f"window.events.includes('broken') || {back}")
    if await page.evaluate("window.events.includes('broken')"):
        assert await page.evaluate("([url, details]) => window.start(url, details)", [address(hub), ana])
    await page.wait_for_function(back)
    desk.say("after")
    await page.wait_for_function("window.items.some((item) => item.Content === 'after')")
    transcript = (await page.evaluate("window.transcript()"))["answer"]["Transcript"]
    assert [each["Content"] for each in transcript if each["Type"] == "MESSAGE"] == ["before", "after"]


@pytest.mark.browser
@pytest.mark.node
@pytest.mark.asyncio(loop_scope="session")
async def test_the_page_of_the_demo_beside_chatjs(demo_hub: HubProcess, browser_context: BrowserContext) -> None:
    """A consumer and an agent on one page, with an attachment, and chatjs in the same chat."""
    page = await browser_context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    page.on("pageerror", lambda fault: complaints.append(str(fault)))
    await page.goto(f"{demo_hub.url}/demo/chat")
    await page.wait_for_selector("body[data-interaction]")
    contact = await page.get_attribute("body", "data-interaction")
    customer, agent = page.locator("#customer"), page.locator("#agent")
    await customer.get_by_label("Message of the consumer").fill("My parcel has not come.")
    await customer.get_by_role("button", name="Send").click()
    await expect(agent.get_by_text("My parcel has not come.")).to_be_visible(timeout=PATIENCE_MS)
    await agent.get_by_label("Message of the agent").fill("May I see the receipt?")
    await agent.get_by_role("button", name="Send").click()
    await expect(customer.get_by_text("May I see the receipt?")).to_be_visible(timeout=PATIENCE_MS)
    file = {"name": "receipt.txt", "mimeType": "text/plain", "buffer": b"one parcel"}
    await customer.locator("input[name=file]").set_input_files([file])  # type: ignore[list-item]
    async with page.expect_download() as saved:
        await agent.get_by_role("button", name="receipt.txt").click()
    assert (await saved.value).suggested_filename == "receipt.txt"
    other = let_in(demo_hub, name="Cem", interactionId=contact)
    with_chatjs = await open_chat(browser_context, address(demo_hub), demo_hub, other)
    assert (await with_chatjs.evaluate("window.say('hello from chatjs')"))["answer"]["Id"]
    await expect(agent.get_by_text("hello from chatjs")).to_be_visible(timeout=PATIENCE_MS)
    assert complaints == []


@pytest.mark.browser
@pytest.mark.node
@pytest.mark.asyncio(loop_scope="session")
async def test_the_page_of_the_demo_comes_back_when_the_hub_does(hub_process: HubFactory, browser_context: BrowserContext) -> None:
    """It says that the connection is lost, keeps what could not be sent, and shows everything once when the hub is there again."""
    hub = hub_process()
    page = await browser_context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    await page.goto(f"{hub.url}/demo/chat")
    await page.wait_for_selector("body[data-interaction][data-connected=true]")
    contact = await page.get_attribute("body", "data-interaction")
    customer, agent = page.locator("#customer"), page.locator("#agent")
    field = customer.get_by_label("Message of the consumer")
    await field.fill("before")
    await field.press("Enter")
    await expect(agent.get_by_text("before")).to_be_visible(timeout=PATIENCE_MS)
    hub.stop()
    await page.wait_for_selector("body[data-connected=false]")
    await expect(page.get_by_text("The connection is lost. Trying again.")).to_be_visible(timeout=PATIENCE_MS)
    await field.fill("while it is away")
    await field.press("Enter")
    await expect(customer.get_by_role("alert")).to_have_text("The hub cannot be reached: try again.", timeout=PATIENCE_MS)
    assert await field.input_value() == "while it is away"
    hub.start()
    # what is said before the page is back is in the transcript
    let_in(hub, name="Cem", interactionId=contact)
    Desk(hub, str(contact)).say("from another desk")
    await page.wait_for_selector("body[data-connected=true]")
    await field.press("Enter")
    for side in (customer, agent):
        for text in ("before", "from another desk", "while it is away"):
            await expect(side.locator("li.own, li.other", has_text=text)).to_have_count(1, timeout=PATIENCE_MS)
    assert await field.input_value() == ""


async def test_without_the_demo_there_is_no_such_page(hub_process: HubFactory) -> None:
    hub = hub_process("--open")
    assert hub.get("/demo/chat").status_code == 404
