"""Clients that create and stop interactions while the hub dies under them, and remember what it promised."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import httpx

ACCEPTED_WITHIN_S = 60.0


@dataclass(slots=True)
class Promised:
    """What the clients were told."""

    created: dict[str, str] = field(default_factory=dict)
    """External ids of the interactions whose creation was answered 200, to their ids."""
    stopped: set[str] = field(default_factory=set)
    """Ids whose stop was answered 200."""
    unknown: set[str] = field(default_factory=set)
    """External ids whose creation had no answer: they may be there or not."""
    faults: set[str] = field(default_factory=set)
    """The texts of answers of 500 and above."""
    refused: set[str] = field(default_factory=set)
    """External ids whose creation was answered 400."""


class Clients:
    """Threads that go on until they are told to end. With several hubs each request goes to one of them by chance."""

    def __init__(
        self, url: str | Sequence[str], key: str, threads: int, seed: int, *, keep_alive: bool = True, pause_s: float = 0.0
    ) -> None:
        """Without ``keep_alive`` each request is sent on a connection of its own, so that all workers behind one port get some.
        ``pause_s``: the longest pause of a thread before it creates the next interaction.
        """
        self.promised = Promised()
        self._hubs = [url] if isinstance(url, str) else list(url)
        self._headers = {"x-api-key": key} | ({} if keep_alive else {"Connection": "close"})
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._numbers = iter(range(1 << 60))
        self._threads = [threading.Thread(target=self._run, args=(random.Random(seed + number),), daemon=True) for number in range(threads)]
        for each in self._threads:
            each.start()

    def go_on(self, more: int) -> None:
        """Return when ``more`` creations than now were answered 200.

        Raises:
            RuntimeError: that took too long; the text says how many there were.
        """
        before = len(self.promised.created)
        until = time.monotonic() + ACCEPTED_WITHIN_S
        while len(self.promised.created) < before + more:
            if time.monotonic() > until:
                raise RuntimeError(f"{len(self.promised.created) - before} creations were accepted within {ACCEPTED_WITHIN_S:.0f} s")
            time.sleep(0.002)

    def end(self) -> None:
        """Begin nothing new, and wait for what is under way."""
        self._ending.set()
        for each in self._threads:
            each.join(60)

    def _url(self, chance: random.Random) -> str:
        return f"{chance.choice(self._hubs)}/nexus/v3/openmedia/crash/interactions"

    def _run(self, chance: random.Random) -> None:
        with httpx.Client(headers=self._headers, timeout=10) as client:
            while not self._ending.wait(chance.random() * self._pause_s):
                with self._lock:
                    external = f"x-{next(self._numbers)}"
                if chance.random() < 0.1:
                    self._refused(client, external, chance)
                else:
                    self._whole(client, external, chance)

    def _refused(self, client: httpx.Client, external: str, chance: random.Random) -> None:
        """A creation that cannot be: nothing of it may be delivered."""
        answer = self._post(client, lambda: self._url(chance), {"data": {"externalId": external, "userData": "no object"}})
        if answer is not None and answer.status_code == 400:
            with self._lock:
                self.promised.refused.add(external)

    def _whole(self, client: httpx.Client, external: str, chance: random.Random) -> None:
        answer = self._post(client, lambda: self._url(chance), {"data": {"externalId": external}})
        if answer is None or answer.status_code >= 500:
            with self._lock:
                self.promised.unknown.add(external)
            return
        identifier: str = answer.raise_for_status().json()["data"]["id"]
        with self._lock:
            self.promised.created[external] = identifier
        time.sleep(chance.random() * 0.02)
        # a stop without an answer may have happened: it is asked for again until there is one
        while True:
            answer = self._post(client, lambda: f"{self._url(chance)}/{identifier}/stop", {})
            if answer is not None and answer.status_code < 500:
                break
            if self._ending.wait(0.05):
                return
        if answer.status_code == 200 or (answer.status_code == 400 and "stopped" in answer.text.lower()):
            with self._lock:
                self.promised.stopped.add(identifier)
        else:
            answer.raise_for_status()

    def _post(self, client: httpx.Client, url: Callable[[], str], body: dict[str, object]) -> httpx.Response | None:
        """The answer; None where the request may have arrived and none came. Whom nobody listens to has sent nothing, and tries again."""
        while True:
            try:
                answer = client.post(url(), json=body)
                if answer.status_code >= 500:
                    self.promised.faults.add(answer.text)
                return answer
            except httpx.ConnectError:
                if self._ending.wait(0.1):
                    return None
            except httpx.TransportError:
                return None
