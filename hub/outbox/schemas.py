"""The bodies of requests and answers of the REST operations on endpoints and deliveries."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from hub.http.schemas import Status

LATEST_MS: Final = 1 << 53
"""Times and ids below it are whole numbers in every JSON reader."""


class EndpointChange(BaseModel):
    """The fields to set. A field that is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"enabled": True}]})

    url: str | None = Field(default=None, description="Where to POST to.", examples=["https://crm.example.com/hook"], max_length=4_000)
    types: list[str] | None = Field(
        default=None, description="Event types that it wants, `interaction.*` for all below; an empty list: all.", max_length=200
    )
    media: list[str] | None = Field(default=None, description="Media that it wants; an empty list: all.", max_length=200)
    headers: dict[str, str] | None = Field(default=None, description="Headers of its own, sent with each request.")
    description: str | None = Field(default=None, description="For people.", max_length=4_000)
    concurrency: int | None = Field(default=None, description="Requests that may be under way at once; 0: `outbox.concurrency`.")
    success: Literal["200", "2xx"] | None = Field(default=None, description="What it must answer: exactly 200, or any 2xx.")
    enabled: bool | None = Field(default=None, description="Whether it is delivered to. What waits goes on when it is enabled again.")
    throttle: Literal["order", "endpoint"] | None = Field(
        default=None, description="What its 429 holds back: what has to stay in order with the delivery, or all that goes to the endpoint."
    )


class NewEndpoint(EndpointChange):
    """An endpoint to create."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"url": "https://crm.example.com/hook", "types": ["interaction.*"]}]}
    )

    url: str = Field(description="Where to POST to.", examples=["https://crm.example.com/hook"], max_length=4_000)
    secret: str | None = Field(default=None, description="Keys the signatures; drawn when left out.", max_length=4_000)


class NewSecret(BaseModel):
    """A secret that the caller chooses."""

    model_config = ConfigDict(extra="forbid")

    secret: str | None = Field(default=None, description="Drawn when left out.", max_length=4_000)


class Span(BaseModel):
    """A span of time, in milliseconds since 1970."""

    model_config = ConfigDict(extra="forbid")

    since: int = Field(description="Deliveries that were made from then on.", ge=0, le=LATEST_MS)
    until: int | None = Field(default=None, description="... and before then; without it all since.", ge=0, le=LATEST_MS)


class EndpointEntry(BaseModel):
    """An endpoint."""

    id: str
    url: str
    types: list[str]
    media: list[str]
    headers: dict[str, str]
    description: str
    concurrency: int
    success: Literal["200", "2xx"]
    throttle: Literal["order", "endpoint"]
    enabled: bool
    disabledReason: str = Field(description="Why it is not enabled.")
    createdAt: int = Field(description="Milliseconds since 1970.")
    failingSince: int | None = Field(default=None, description="Since when there were nothing but failures.")
    unknownTypes: list[str] | None = Field(
        default=None, description="Those of `types` that no event of this hub has: misspelt, or of an extension."
    )
    oldSecretsUntil: list[int] = Field(description="When secrets that were rotated out cease to sign.")


class EndpointWithSecret(EndpointEntry):
    """An endpoint, and its secret: it is shown this once."""

    secret: str


class EndpointAnswer(BaseModel):
    """Envelope of an endpoint."""

    status: Status
    data: EndpointEntry


class EndpointWithSecretAnswer(BaseModel):
    """Envelope of an endpoint and its secret."""

    status: Status
    data: EndpointWithSecret


class Endpoints(BaseModel):
    """All endpoints, the oldest first."""

    endpoints: list[EndpointEntry]


class EndpointsAnswer(BaseModel):
    """Envelope of all endpoints."""

    status: Status
    data: Endpoints


class DeliveryEntry(BaseModel):
    """A delivery: one event on its way to one endpoint. Times in milliseconds since 1970."""

    id: int
    endpoint: str
    type: str
    media: str
    key: str = Field(description="What stays in order: the id of the interaction.")
    operationId: str = Field(description="The same at every attempt and for every endpoint.")
    state: Literal["pending", "delivered", "dead"]
    attempts: int
    createdAt: int
    nextAt: int | None = Field(default=None, description="When a pending one is tried again at the earliest.")
    finishedAt: int | None = None
    httpStatus: int | None = Field(default=None, description="What the last attempt was answered; missing when it was not.")
    error: str = Field(description="Why it is not delivered, in words.")


class Deliveries(BaseModel):
    """A page of deliveries, the newest first."""

    deliveries: list[DeliveryEntry]
    cursor: str | None = Field(default=None, description="Where the next page begins; missing on the last one.")


class DeliveriesAnswer(BaseModel):
    """Envelope of a page of deliveries."""

    status: Status
    data: Deliveries


class AttemptEntry(BaseModel):
    """One attempt."""

    number: int
    at: int = Field(description="Milliseconds since 1970.")
    durationMs: int
    httpStatus: int | None = Field(default=None, description="Missing when there was no answer.")
    error: str
    body: str = Field(description="The beginning of the answer.")
    bodyBase64: bool = Field(description="Whether `body` is base64, because it is no text.")


class DeliveryDetail(DeliveryEntry):
    """A delivery with what it carries and its attempts."""

    payload: str = Field(description="The body that is posted.")
    log: list[AttemptEntry]


class DeliveryAnswer(BaseModel):
    """Envelope of a delivery."""

    status: Status
    data: DeliveryDetail


class Replayed(BaseModel):
    """The deliveries that are made again."""

    replayed: int


class ReplayedAnswer(BaseModel):
    """Envelope of the deliveries that are made again."""

    status: Status
    data: Replayed


class ExampleAnswer(BaseModel):
    """Envelope of the outcome of an example."""

    status: Status
    data: AttemptEntry
