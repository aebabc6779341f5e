"""The scripts that Redis runs: each does its work in one step, between two commands of others."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

NOW = "redis.call('TIME')"
"""How the scripts ask for seconds and microseconds since 1970."""


class Script:
    """One script, known to Redis by the SHA-1 of its text: versions of the hub side by side do not meet."""

    __slots__ = ("name", "sha", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text.encode()
        self.sha = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()


@cache
def _read(name: str) -> str:
    return files(__package__).joinpath("lua", f"{name}.lua").read_text()


class Scripts:
    """All of them."""

    __slots__ = (
        *(
            "beat",
            "claim",
            "erase",
            "leave",
            "open",
            "presence_count",
            "presence_take",
            "publish",
            "publish_ids_begin",
            "publish_ids_end",
            "sign_in_try",
            "trim",
        ),
        *("ticket_closed", "ticket_issue", "ticket_keep", "ticket_opened", "ticket_redeem"),
    )

    def __init__(self, time: str = NOW) -> None:
        """``time``: the expression that tells the time; a test hands in a clock of its own."""

        def script(name: str) -> Script:
            return Script(name, (_read("log") + _read(name)).replace(NOW, time))

        self.beat = script("beat")
        self.claim = script("claim")
        self.erase = script("erase")
        self.leave = script("leave")
        self.open = script("open")
        self.publish = script("publish")
        self.trim = script("trim")
        self.presence_count = script("presence_count")
        self.presence_take = script("presence_take")
        self.publish_ids_begin = script("publish_ids_begin")
        self.publish_ids_end = script("publish_ids_end")
        self.sign_in_try = script("sign_in_try")
        self.ticket_closed = script("ticket_closed")
        self.ticket_issue = script("ticket_issue")
        self.ticket_keep = script("ticket_keep")
        self.ticket_opened = script("ticket_opened")
        self.ticket_redeem = script("ticket_redeem")
