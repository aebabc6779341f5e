"""The status of a simulated agent, for the ledger and the model."""

from enum import Enum


class Status(Enum):
    """An agent has exactly one at a time: TALK while any call of the agent is connected, HOLD while the only call is on hold."""

    LOGGED_OUT = "logged out"
    NOT_READY = "not ready"
    READY = "ready"
    DIALING = "dialing"
    RINGING = "ringing"
    TALK = "talk"
    HOLD = "hold"
    WRAP = "wrap"
