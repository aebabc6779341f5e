"""The bodies of the Statistics API as ``/openapi.json`` describes them (docs/protocol/statistics.md#bodies).

Requests are checked by hand, item by item, so that one bad statistic fails alone; these models only tell what is expected.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class ResponseStatus(_Model):
    """0: done; 2: some of the statistics failed, see ``errors``; anything else: an error."""

    code: int
    message: str | None = None
    detail: dict[str, Any] | None = None


class ErrorResponse(_Model):
    """One failure of a request for several statistics; ``detail`` names the statistic and the field at fault."""

    status: ResponseStatus


class StatisticDefinition(_Model):
    """A statistic in Stat Server's terms; unknown members are ignored."""

    model_config = ConfigDict(extra="allow")

    category: str = Field(examples=["TotalAdjustedTime"])
    subject: str = Field(examples=["DNStatus"])
    main_mask: str = Field(examples=["WaitForNextCall"])
    rel_mask: str | None = None
    interval_type: str = Field("GrowingWindow", examples=["GrowingWindow"])
    dynamic_time_profile: str | None = Field(None, examples=["00:00"])
    time_profile: str | None = None
    time_range: str | None = Field(None, examples=["0-20"])
    dynamic_filter: str | None = Field(None, examples=["Media=voice"])
    mask_type: str | None = None
    notification_mode: str | None = Field(None, examples=["Periodical"])
    notification_frequency: int | None = Field(None, description="seconds", examples=[10])
    insensitivity: int | None = Field(None, examples=[1])


class StatisticDescriptor(_Model):
    """One statistic to open: a predefined one by ``name``, or a ``definition``; not both."""

    statistic_id: str | None = Field(None, description="unique within the subscription; made up when missing")
    object_id: str
    object_type: str = Field(examples=["Agent", "GroupAgents", "Queue", "RoutePoint", "GroupQueues", "StagingArea"])
    name: str | None = None
    definition: StatisticDefinition | None = None


class StatisticDescriptors(_Model):
    """The statistics to open."""

    statistics: list[StatisticDescriptor]


class SubscriptionRequest(_Model):
    """``POST /statistics/v3/subscriptions``."""

    operation_id: str | None = Field(None, description="becomes the subscriptionId; made up when missing")
    data: StatisticDescriptors


class PeekDescriptor(_Model):
    """One predefined statistic."""

    name: str
    object_id: str
    object_type: str


class PeekDescriptors(_Model):
    """The statistics to read."""

    statistics: list[PeekDescriptor]


class PeekRequest(_Model):
    """``POST /statistics/v3/operations/get-statistic-ex``."""

    data: PeekDescriptors


class StatisticValueBody(_Model):
    """The value. ``float_value`` only where it is not whole; ``state_value`` only of CurrentState."""

    int_value: int
    string_value: str
    float_value: float | None = None
    state_value: dict[str, Any] | None = None
    interval_length: int
    tag: int
    timestamp: int = Field(description="ms since 1970 UTC")


class PeekedStatisticValue(_Model):
    """A predefined statistic and its value."""

    name: str
    object_id: str
    object_type: str
    value: StatisticValueBody
    empty: bool | None = Field(None, description="true for an average or a percentage of nothing, whose 0 says nothing; else left out")
    timestamp: int = Field(description="ms since 1970 UTC")


class StatisticValue(_Model):
    """A statistic of a subscription and its value; ``verbose=OFF`` leaves out name, objectId and objectType."""

    statistic_id: str
    name: str | None = None
    object_id: str | None = None
    object_type: str | None = None
    value: StatisticValueBody
    empty: bool | None = Field(None, description="true for an average or a percentage of nothing, whose 0 says nothing; else left out")
    timestamp: int = Field(description="ms since 1970 UTC")


class StatisticData(_Model):
    """A subscription."""

    subscription_id: str
    operation_id: str
    statistics: list[StatisticValue]


class PeekedStatistic(_Model):
    """One value."""

    statistic: PeekedStatisticValue


class PeekedStatistics(_Model):
    """Several values."""

    statistics: list[PeekedStatisticValue]


class StatisticDataResponse(_Model):
    """Envelope of a subscription."""

    status: ResponseStatus
    data: StatisticData
    errors: list[ErrorResponse] | None = None


class PeekedStatisticResponse(_Model):
    """Envelope of one value."""

    status: ResponseStatus
    data: PeekedStatistic


class PeekedStatisticsResponse(_Model):
    """Envelope of several values."""

    status: ResponseStatus
    data: PeekedStatistics
    errors: list[ErrorResponse] | None = None


class StatusResponse(_Model):
    """Envelope without data."""

    status: ResponseStatus


class ObjectIds(_Model):
    """Ids, sorted."""

    objects: list[str]


class ObjectsResponse(_Model):
    """Envelope of the known objects of a type."""

    status: ResponseStatus
    data: ObjectIds


class StatServerState(_Model):
    """A tenant's stat server."""

    state: str = Field(examples=["AVAILABLE"])
    statistics: int = Field(description="open in subscriptions")
    subscriptions: int
    logins: int = Field(description="that have subscriptions")
    values: int = Field(description="channels /statistics/v3/values/... that are open")
    objects: int = Field(description="agents, queues, groups and staging areas that events named")
    interactions: int = Field(description="in which something goes on")
    position: int = Field(description="of the last event that was taken")
    time: int | None = Field(description="the stat server's own, ms since 1970 UTC")
    held: int = Field(description="events that wait for their time")
    events_applied: int
    events_refused: int
    last_snapshot: int | None = Field(description="ms since 1970 UTC")
    snapshot_position: int


class StatServerResponse(_Model):
    """Envelope of a stat server's state."""

    status: ResponseStatus
    data: StatServerState
