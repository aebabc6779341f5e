"""The simulated centre of ``--demo``: sends events of the tenant ``demo`` in real time, after those of the day so far."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

import structlog

from channels.events import (
    ACCEPTED,
    DUPLICATE,
    EVENT_STREAM,
    Event,
    EventSink,
    EventSinkError,
    InteractionFinished,
    InteractionStarted,
    decode_event,
)
from channels.simulator.centre import DAY_MS, HOUR_MS, demo_centre
from channels.simulator.counters import Counters
from channels.simulator.model import Model
from channels.simulator.settings import SimulatorSettings
from hub.cluster.ownership import Ownership
from hub.core.ports import Clock
from hub.eventlog.interface import EventLog
from hub.storage.lease import Fence

_log = structlog.get_logger(__name__)

TENANT: Final = "demo"
SOURCE: Final = "/simulator"

_BATCH: Final = 1_000
_HISTORY_MS: Final = 8 * HOUR_MS
"""The longest part of the day so far that is simulated at the start: the totals of a shift are there within seconds."""
_TOLD_MS = 60_000
"""The beginning and the end of an interaction that ended more milliseconds ago than this are not sent."""

_BREATHE_EVERY: Final = 50
_LOOK_BACK: Final = 20_000
"""Records at the end of the log in which open interactions of an earlier run are searched: more than an hour of a large centre."""
_TICK_S: Final = 0.02
_LOOK_AT_CLOCK_S: Final = 0.5
_MAX_PAUSE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Previous:
    """What the event log contains of an earlier run."""

    last_ms: int
    """The time of the newest event in the log; 0 if the log is empty."""
    unfinished: tuple[tuple[str, str], ...]
    """(id, medium) of interactions that were started and not finished."""


class Runner:
    """A service that runs as long as the hub does; where nodes own tenants by leases, as long as this node owns the tenant ``demo``: of all
    nodes one simulates (docs/scaling.md#state-and-work-of-one-process).

    At the start it simulates the day so far as fast as it can, so that the totals of the day are not zero: from midnight, from eight hours
    ago, or from the end of the log, whichever is latest. Then it follows the clock. Its first events finish the interactions of an earlier
    run, and log its agents out.
    """

    __slots__ = (
        "_clock",
        "_eventlog",
        "_find_sink",
        "_first_pause_s",
        "_leased",
        "_settings",
        "_sink",
        "_task",
        "_zone",
        "counters",
        "error",
    )

    def __init__(
        self,
        *,
        settings: SimulatorSettings,
        eventlog: EventLog,
        clock: Clock,
        zone: tzinfo | None,
        find_sink: Callable[[], EventSink],
        first_pause_s: float = 0.5,
        leased: Ownership | None = None,
    ) -> None:
        """``first_pause_s``: seconds until events that could not be written are sent again; the pause doubles each time, up to 10 s. Of
        ``leased`` tenants this process simulates while it owns the one of the demo; without it always.
        """
        self._leased = leased
        if leased is not None:
            leased.workers.append(self)
        self.counters = Counters()
        self.error: str | None = None
        """Why the simulator stopped; None while it runs."""
        self._settings = settings
        self._eventlog = eventlog
        self._clock = clock
        self._zone = zone
        self._find_sink = find_sink
        self._first_pause_s = first_pause_s
        self._sink: EventSink | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start in a task: the start of the hub does not wait until the day so far is simulated."""
        self._sink = self._find_sink()
        if self._leased is None:
            self._begin()
        else:
            self._leased.want(TENANT)

    async def stop(self) -> None:
        """Stop at once. The next start finishes the open interactions."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    # -- TenantWorker ---------------------------------------------------------------------------------------------------

    async def open_tenant(self, tenant: str, fence: Fence) -> None:
        """See :meth:`hub.cluster.ownership.TenantWorker.open_tenant`. The simulation goes on from the end of the log."""
        if tenant == TENANT:
            await self.stop()
            self._begin()

    async def close_tenant(self, tenant: str) -> None:
        """See :meth:`hub.cluster.ownership.TenantWorker.close_tenant`."""
        if tenant == TENANT:
            await self.stop()

    def is_idle(self, tenant: str) -> bool:
        """See :meth:`hub.cluster.ownership.TenantWorker.is_idle`. Another process would begin another day."""
        return tenant != TENANT or self._task is None

    def drop_tenant(self, tenant: str) -> None:
        """See :meth:`hub.cluster.ownership.TenantWorker.drop_tenant`."""
        if tenant == TENANT and self._task is not None:
            self._task.cancel()
            self._task = None

    def _begin(self) -> None:
        self.error = None
        self._task = asyncio.create_task(self._run_logged())

    async def readiness(self) -> str | None:
        """For ``/readyz``: None while the simulator runs, else the reason why it stopped."""
        return self.error

    async def _run_logged(self) -> None:
        try:
            await self._run()
        except Exception as error:
            self.error = f"the simulator stopped: {error}"
            _log.exception("simulator stopped")

    async def _run(self) -> None:
        previous = await self._previous()
        now_ms = self._clock.wall_ms()
        midnight_ms = self._midnight(now_ms)
        start_ms = max(midnight_ms, now_ms - _HISTORY_MS, previous.last_ms + 1)
        seed = secrets.randbits(32) if self._settings.seed is None else self._settings.seed
        model = Model(
            demo_centre(self._settings.agents, load=self._settings.load),
            seed=seed,
            start_ms=start_ms,
            midnight_ms=midnight_ms,
            source=SOURCE,
            run=f"{start_ms:x}",
            log_out_first=previous.last_ms > 0,
            unfinished=previous.unfinished,
        )
        _log.info("simulating", tenant=TENANT, agents=self._settings.agents, seed=seed, since_ms=start_ms)
        while True:
            await self._advance(model)
            next_ms = model.next_ms
            assert next_ms is not None, "somebody always comes to a centre that never closes"
            # sleep half a second at most: the wall clock may be changed
            await asyncio.sleep(min(max((next_ms - self._clock.wall_ms()) / 1000, _TICK_S), _LOOK_AT_CLOCK_S))

    async def _advance(self, model: Model) -> None:
        """Send the events up to now, in batches, with pauses for other tasks of the event loop."""
        batch: list[Event] = []
        now_ms = began_ms = self._clock.wall_ms()
        for event in model.run_until(now_ms):
            if event.time_ms > now_ms:  # the model begins after the log's last event, which is ahead of this clock
                await asyncio.sleep((event.time_ms - now_ms) / 1000)
                now_ms = event.time_ms
            batch.append(event)
            if len(batch) % _BREATHE_EVERY == 0:
                await asyncio.sleep(0)
            if len(batch) >= _BATCH:
                await self._send(_without_history(batch, began_ms))
                batch = []
        if batch:
            await self._send(_without_history(batch, began_ms))

    async def _send(self, batch: list[Event]) -> None:
        assert self._sink is not None
        pause_s = self._first_pause_s
        while True:
            try:
                outcomes = await self._sink.accept(TENANT, batch, past=True)
                break
            except EventSinkError as error:
                self.counters.retries += 1
                _log.warning("simulated events not taken, trying again", reason=str(error), pause_s=pause_s)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _MAX_PAUSE_S)
        self.counters.events += len(batch)
        refused = [outcome for outcome in outcomes if outcome not in (ACCEPTED, DUPLICATE)]
        if refused:
            self.counters.refused += len(refused)
            _log.warning("simulated events refused", count=len(refused), first=refused[0])

    async def _previous(self) -> Previous:
        """Read the end of the log."""
        last = await self._eventlog.last(TENANT, EVENT_STREAM)
        if last == 0:
            return Previous(0, ())
        # if the log has deleted all records already, their times are before now
        last_ms = 0
        started: dict[str, str] = {}
        count = 0
        async for chunk in self._eventlog.read(TENANT, EVENT_STREAM, max(0, last - _LOOK_BACK)):
            for _, record in chunk:
                event = decode_event(record)
                last_ms = max(last_ms, event.time_ms)
                if event.source == SOURCE:
                    if isinstance(event.data, InteractionStarted):
                        started[event.data.interaction_id] = event.data.media
                    elif isinstance(event.data, InteractionFinished):
                        started.pop(event.data.interaction_id, None)
                count += 1
                if count % _BREATHE_EVERY == 0:
                    await asyncio.sleep(0)
        return Previous(last_ms if count else self._clock.wall_ms(), tuple(started.items()))

    def _midnight(self, now_ms: int) -> int:
        """The last midnight of the zone's clock. On the day of a clock change, shifts and arrivals are wrong by one hour at most."""
        now = datetime.fromtimestamp(now_ms / 1000, self._zone).astimezone(self._zone)
        midnight_ms = int(now.replace(hour=0, minute=0, second=0, microsecond=0).timestamp() * 1000)
        return max(midnight_ms, now_ms - DAY_MS)


def _without_history(batch: list[Event], now_ms: int) -> list[Event]:
    """The batch without the beginning and the end of interactions that ended long ago: no subscriber needs them any more. Their other
    events still count in the statistics.
    """
    before_ms = now_ms - _TOLD_MS
    over = {event.data.interaction_id for event in batch if isinstance(event.data, InteractionFinished) and event.time_ms < before_ms}
    begun = {event.data.interaction_id for event in batch if isinstance(event.data, InteractionStarted)}
    past = over & begun
    return [
        event
        for event in batch
        if not (isinstance(event.data, InteractionStarted | InteractionFinished) and event.data.interaction_id in past)
    ]
