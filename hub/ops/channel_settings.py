"""The settings of channels: which are kept for a while, and whose joins and leaves are told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from hub.core.channels import InvalidChannelError, check_pattern, overlaps
from hub.eventlog.channel_log import Retention
from hub.ops.environment import split_list

NO_LOG_OF_YOURS: Final = ("/meta", "/service", "/statistics", "/nexus", "/hub")
"""Channels whose delivery class the server sets."""

NOT_WATCHED: Final = ("/meta", "/service", "/hub")
"""Channels whose joins and leaves are never published: the server's own channels, and channels without subscribers."""


def split_value(value: object) -> object:
    """Make a list of a text such as ``a, b`` of a flag or a file, as in the environment."""
    return split_list(value) if isinstance(value, str) else value


def _patterns_outside(trees: Sequence[str]) -> Callable[[object], object]:
    """A check of a list of channels and patterns: none may overlap these trees, except ``/**``, which later leaves the trees out."""

    def check(value: object) -> object:
        split = split_value(value)
        if not isinstance(split, list | tuple) or not all(isinstance(item, str) for item in split):
            return split
        for item in split:
            try:
                check_pattern(item)
            except InvalidChannelError as error:
                raise ValueError(str(error)) from None
            if any(overlaps(item, f"{tree}/**") or item == tree for tree in trees) and item != "/**":
                raise ValueError(f"expected channels outside {', '.join(trees)}, got {item}")
        return tuple(split)

    return check


class ReplaySettings(BaseModel):
    """The log of channels whose messages are kept for a while, so that clients that come back get what they missed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: Annotated[tuple[str, ...], BeforeValidator(_patterns_outside(NO_LOG_OF_YOURS))] = Field(
        default=(),
        description="Channels and patterns of your own that are kept, such as `/orders/**`; in the environment separated by commas. "
        "The hub's own log channels are kept in any case.",
    )
    store: Literal["sqlite", "memory"] = Field(
        default="sqlite",
        description="Where messages are kept: `sqlite` is `channels.db` in `data_dir`, `memory` forgets with the process. With `redis_url` "
        "it is Redis.",
    )
    max_messages: int = Field(default=100_000, ge=1, description="Messages that are kept for each tenant, the newest ones.")
    max_age_s: int = Field(default=24 * 3600, ge=1, description="Seconds that a message is kept.")
    max_bytes: int = Field(default=256 * 1024 * 1024, ge=1024, description="Bytes of messages that are kept for each tenant.")

    @property
    def retention(self) -> Retention:
        """The three limits in the form that the log uses."""
        return Retention(self.max_messages, self.max_age_s, self.max_bytes)


class PresenceSettings(BaseModel):
    """Who is connected, and joins and leaves as events on `/hub/presence/...`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: Annotated[tuple[str, ...], BeforeValidator(_patterns_outside(NOT_WATCHED))] = Field(
        default=(),
        description="Channels and patterns whose joins and leaves are told, such as `/rooms/**`; in the environment separated by commas.",
    )
    events_per_second: int = Field(
        default=20,
        ge=1,
        le=1000,
        description="Joins and leaves of one channel that are told one by one within a second; the rest is told as a sum at its end.",
    )
    survey_s: float = Field(
        default=1.0,
        gt=0,
        le=30,
        description="Seconds that other nodes have to tell of their sessions and channels; an answer without them names them.",
    )
