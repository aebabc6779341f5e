"""What the one decision function answers: whether somebody may do something, and why (docs/protocol/credentials.md#decisions)."""

from enum import Enum
from typing import NamedTuple


class Reason(Enum):
    """Why something is allowed or denied. The value is the text that a refusal tells; it names no rule, for a rule may be a secret."""

    GRANTED = "a role allows it"
    NOT_GRANTED = "no role of this credential allows it"
    EXCEPTED = "the roles of this credential have an exception there"
    NOT_WHOLLY_GRANTED = "the roles of this credential allow a part of it only"
    DENIED = "a role of this credential denies it"
    OUT_OF_SCOPE = "the scopes of this token do not cover it"
    SERVER_ONLY = "only the server publishes there"
    UNKNOWN_OPERATION = "there is no such operation"


class Decision(NamedTuple):
    """The answer to whether a principal may do an action on a resource."""

    allowed: bool
    reason: Reason
    role: str = ""
    """The role whose rule decided; empty if none did."""
    rule: str = ""
    """The pattern that decided, as the rule has it, variables included; empty if none did."""

    def __str__(self) -> str:
        """The whole reason, for administrators: it names the role and the pattern."""
        match self.reason:
            case Reason.GRANTED:
                return f"role {self.role} allows {self.rule}"
            case Reason.DENIED:
                return f"role {self.role} denies {self.rule}, whatever else allows it"
            case Reason.EXCEPTED:
                return f"role {self.role} has an exception: {self.rule}"
            case Reason.NOT_WHOLLY_GRANTED:
                return f"role {self.role} allows a part of it only, within {self.rule}"
            case Reason.SERVER_ONLY:
                return f"{self.reason.value}: {self.rule}"
            case _:
                return str(self.reason.value)
