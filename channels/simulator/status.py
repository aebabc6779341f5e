"""What a simulated agent is doing, as one word: their ledger and the model share it."""

from enum import Enum


class Status(Enum):
    """Exactly one at a time. Talking counts while any call of the agent is connected, holding while the only one is on hold."""

    LOGGED_OUT = "logged out"
    NOT_READY = "not ready"
    READY = "ready"
    DIALING = "dialing"
    RINGING = "ringing"
    TALK = "talk"
    HOLD = "hold"
    WRAP = "wrap"
