"""Settings of the outbox and its webhooks (section ``outbox``)."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork

Seconds = Annotated[float, Field(gt=0, le=7 * 86_400)]


class OutboxSettings(BaseModel):
    """Delivery of webhooks: schedule, bounds, what may be called."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    retry_s: tuple[Seconds, ...] = Field(
        default=(5, 300, 1_800, 7_200, 18_000, 36_000, 36_000),
        min_length=1,
        max_length=100,
        description="Seconds from each attempt that failed to the next one; after the last the delivery is dead. Eight attempts in 27.6 h.",
    )
    jitter: float = Field(default=0.2, ge=0, le=0.5, description="Each pause is this share longer or shorter, by chance.")
    timeout_s: Seconds = Field(default=15, description="A receiver that has not answered by then has failed.")
    throttle_s: Seconds = Field(default=60, description="The least pause after 429, 502 or 504: the receiver has too much to do.")
    concurrency: int = Field(default=8, ge=1, le=1_000, description="Requests to one endpoint that may be under way at once.")
    max_endpoints: int = Field(
        default=200, ge=1, le=100_000, description="Endpoints that a tenant may have: each event goes to all of them that want it."
    )
    in_flight: int = Field(default=1_000, ge=1, le=100_000, description="Requests to all endpoints that may be under way at once.")
    tenant_share: float = Field(
        default=0.25,
        gt=0,
        le=1,
        description="The part of `in_flight`, `held` and `waiting` that is one tenant's at most while others wait.",
    )
    held: int = Field(
        default=20_000, ge=1, le=1_000_000, description="Deliveries in memory that wait for their request; more wait in the database."
    )
    waiting: int = Field(
        default=5_000, ge=1, le=1_000_000, description="Events in memory that wait to be dispatched; more wait in the database."
    )
    examples: int = Field(
        default=4,
        ge=1,
        le=1_000,
        description="Examples (`send-example`) of a tenant that may be under way; more is refused with 429.",
    )
    resolve_threads: int = Field(
        default=16,
        ge=1,
        le=256,
        description="Names of endpoints that are looked up at once. A look-up lasts as long as a name server likes.",
    )
    order_s: Seconds = Field(
        default=3_600,
        description="How long a delivery waits for the one before it of the same key to the same endpoint; then it overtakes it.",
    )
    lease_s: Seconds = Field(
        default=30,
        description="What a hub has under way is taken over by another one so long after it died; of a request the time-out comes on top.",
    )
    shutdown_grace_s: Annotated[float, Field(ge=0, le=600)] = Field(
        default=5,
        description="How long a hub that stops waits for requests that are under way; what has not ended by then is sent again.",
    )
    trip_after: int = Field(
        default=5,
        ge=1,
        le=1_000,
        description="Time-outs and refused connections in a row after which an endpoint gets one request at a time.",
    )
    disable_after_h: Annotated[float, Field(gt=0, le=24 * 365)] = Field(
        default=120, description="Hours of nothing but failures after which an endpoint is disabled."
    )
    keep_delivered_h: Annotated[float, Field(gt=0, le=24 * 365)] = Field(default=72, description="Hours that delivered webhooks are kept.")
    keep_dead_h: Annotated[float, Field(gt=0, le=24 * 3650)] = Field(
        default=24 * 30, description="Hours that dead webhooks can be replayed."
    )
    kept_body_bytes: int = Field(default=2_000, ge=0, le=20_000, description="Bytes of an answer that are kept with each attempt.")
    max_answer_bytes: int = Field(
        default=64 * 1024, ge=1_024, le=16 * 1024 * 1024, description="An answer that goes on beyond this is cut off: its status counts."
    )
    secret_overlap_h: Annotated[float, Field(ge=0, le=24 * 30)] = Field(
        default=24, description="Hours that an old secret signs beside the new one after a rotation."
    )
    https_only: bool = Field(default=False, description="Refuse endpoints without TLS.")
    allowed_networks: tuple[IPvAnyNetwork, ...] = Field(
        default=(), description="Networks that are not public and may be called all the same, such as 10.1.0.0/16."
    )
