"""Converts the lines of Asterisk's ``queue_log`` to events of calls and agents.

A line tells the end of something and how long it lasted. So the event of its beginning gets an earlier time: of a phone that rang for 12 s
without an answer, the event that it rings. The log cuts times and durations to whole seconds. Where they differ by two seconds at most, the
stated duration counts, so that statistics agree with the log. docs/queue-log.md lists the events of each line.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Final

from channels import events as vocabulary
from channels.events import TYPE_NAMES, VOICE, Event, EventData
from channels.ingest.queue_log_line import Line, LineError, parse_line

SOURCE: Final = "/asterisk/queue_log"

_SECOND_MS: Final = 1000
_CUT_MS: Final = 2 * _SECOND_MS
"""Times and durations are cut to whole seconds, so they may differ by this many milliseconds and mean the same."""

_LONGEST_MS: Final = 24 * 3600 * _SECOND_MS
"""A call whose end is not in the log ends after this time."""

_ENDED: Final = 10_000
"""How many ended calls are remembered, so that a second line about the end of a call makes no event."""

_NOTHING: Final = ("CONFIGRELOAD",)


@dataclass(slots=True)
class _Call:
    """A call that is not over; times in milliseconds since 1970."""

    id: str
    queue: str
    entered_ms: int
    last_ms: int
    """The time of the call's last event."""
    ringing: set[str] = field(default_factory=set)
    """Agents whose phone rang when the caller gave up."""
    agent: str = ""
    """The agent who answered; empty before that."""
    answered_ms: int = 0


@dataclass(slots=True)
class _Agent:
    """An agent, and the queues that the log has named for the agent."""

    last_ms: int = 0
    queues: set[str] = field(default_factory=set)
    paused: set[str] = field(default_factory=set)
    away: bool = False
    """Whether the agent is paused in all queues, also in those that the log has not named."""
    ready: bool | None = None
    """Whether the agent takes calls; None for an agent who is logged out."""


class Converter:
    """Converts the lines of one log, in their order, to events.

    ``others`` counts the lines that are not converted, by their event; ``repeated`` counts lines about the end of a call that had ended
    already; ``differing`` counts durations that differ from the times of the lines by more than two seconds: there the times are used.
    """

    __slots__ = (
        "_agents",
        "_calls",
        "_ended",
        "_handlers",
        "_line",
        "_out",
        "_second",
        "_seen",
        "_zone",
        "differing",
        "others",
        "repeated",
    )

    def __init__(self, zone: tzinfo = UTC) -> None:
        self._zone = zone
        self._calls: dict[str, _Call] = {}
        self._ended: dict[str, int] = {}
        self._agents: dict[str, _Agent] = {}
        self._out: list[Event] = []
        self._line = ""
        self._second = 0
        self._seen: Counter[str] = Counter()
        """How often each line came in the present second: two equal lines of one second may mean two different events."""
        self.others: Counter[str] = Counter()
        self.repeated = 0
        self.differing = 0
        self._handlers: dict[str, Callable[[Line], None]] = {
            "ENTERQUEUE": self._entered,
            "CONNECT": self._connected,
            "COMPLETEAGENT": self._completed,
            "COMPLETECALLER": self._completed,
            "TRANSFER": self._transferred,
            "BLINDTRANSFER": self._transferred,
            "ATTENDEDTRANSFER": self._transferred,
            "ABANDON": self._abandoned,
            "SYSCOMPAT": self._incompatible,
            "EXITWITHTIMEOUT": self._left,
            "EXITWITHKEY": self._left,
            "EXITEMPTY": self._left,
            "RINGNOANSWER": self._not_answered,
            "RINGCANCELED": self._ring_cancelled,
            "AGENTDUMP": self._dumped,
            "ADDMEMBER": self._member_added,
            "REMOVEMEMBER": self._member_removed,
            "AGENTLOGIN": self._logged_in,
            "AGENTCALLBACKLOGIN": self._logged_in,
            "AGENTLOGOFF": self._logged_off,
            "AGENTCALLBACKLOGOFF": self._logged_off,
            "PAUSE": self._paused,
            "UNPAUSE": self._unpaused,
            "PAUSEALL": self._paused,
            "UNPAUSEALL": self._unpaused,
            "QUEUESTART": self._restarted,
        }

    def take(self, text: str) -> list[Event]:
        """Convert a line to events, in their order; the time of an event may be earlier than that of the line.

        Raises:
            LineError: it is not a line of a queue_log, or lacks a field that its event needs; it made no events.
        """
        line = parse_line(text, self._zone)
        handler = self._handlers.get(line.event)
        if handler is None:
            if line.event not in _NOTHING:
                self.others[line.event] += 1
            return []
        if self._second != line.time_ms // _SECOND_MS:
            self._second = line.time_ms // _SECOND_MS
            self._seen.clear()
        self._line, self._out = text.strip(), []
        self._seen[self._line] += 1
        self._forget(line.time_ms)
        handler(line)
        return self._out

    # -- events -----------------------------------------------------------------------------------------------------

    def _say(self, data: EventData, at_ms: int) -> None:
        """Add an event. Its id is computed from the line, so that a log that is sent twice counts once."""
        digest = hashlib.sha256(self._line.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        identifier = f"{digest}-{self._seen[self._line]}-{len(self._out)}"
        self._out.append(Event(TYPE_NAMES[type(data)], at_ms, SOURCE, identifier, data))

    def _of_call(self, call: _Call, data: EventData, at_ms: int) -> None:
        """Add an event of a call. Its time is not before the last one of the call."""
        call.last_ms = max(call.last_ms, at_ms)
        self._say(data, call.last_ms)

    def _of_agent(self, agent: str, data: EventData, at_ms: int) -> int:
        """Add an event of an agent. Its time is not before the last one of the agent. Returns the time."""
        known = self._agents.setdefault(agent, _Agent())
        known.last_ms = max(known.last_ms, at_ms)
        self._say(data, known.last_ms)
        return known.last_ms

    # -- calls ------------------------------------------------------------------------------------------------------

    @staticmethod
    def _named(line: Line, *names: str) -> None:
        for name in names:
            if getattr(line, name) == "":
                raise LineError(f"{name}: expected one for {line.event}, got NONE")

    def _entered(self, line: Line) -> None:
        self._named(line, "call", "queue")
        self._enter(line, line.time_ms)

    def _enter(self, line: Line, at_ms: int) -> _Call:
        known = self._calls.get(line.call)
        if known is not None and (known.agent or known.queue == line.queue):
            self._end(known, at_ms)  # the end of the earlier call with this id is not in the log
            known = None
        at_ms = max(at_ms, self._ended.pop(line.call, 0) if known is None else known.last_ms)
        call = _Call(line.call, line.queue, at_ms, at_ms)
        if known is None:
            self._of_call(call, vocabulary.InteractionStarted(interaction_id=call.id, media=VOICE), at_ms)
        else:
            self._stop_ringing(known, at_ms)
        self._calls.pop(call.id, None)
        self._calls[call.id] = call
        self._of_call(call, vocabulary.InteractionQueued(interaction_id=call.id, queue=call.queue), at_ms)
        return call

    def _call_of(self, line: Line, began_s: int | None) -> _Call | None:
        """The call of a line, in the queue of the line. If the log has no line about its entry there, it entered ``began_s`` seconds before
        this line. None if the call has ended already.
        """
        call = self._calls.get(line.call)
        if call is None and line.call in self._ended:
            self.repeated += 1
            return None
        if call is None or call.queue != line.queue:
            call = self._enter(line, line.time_ms - (began_s or 0) * _SECOND_MS)
        return call

    def _end_of(self, since_ms: int, at_ms: int, seconds: int | None) -> int:
        """The time at which something ended that began at ``since_ms``: from the line's time, or from the duration that the line states."""
        if seconds is None or at_ms // _SECOND_MS - since_ms // _SECOND_MS == seconds:
            return max(at_ms, since_ms)
        stated_ms = (since_ms // _SECOND_MS + seconds) * _SECOND_MS
        if abs(stated_ms - at_ms) > _CUT_MS:
            self.differing += 1
            return max(at_ms, since_ms)
        return max(stated_ms, since_ms)

    def _rings(self, call: _Call, agent: str, began_ms: int, until_ms: int) -> int:
        """Add the events that a call is distributed to an agent and rings. It rings from ``began_ms`` on, but not before the call entered
        the queue and not before the agent's last event. Returns that time.
        """
        known = self._agents.setdefault(agent, _Agent())
        known.queues.add(call.queue)
        known.ready = known.ready is not False
        at_ms = min(max(began_ms, call.entered_ms, known.last_ms), max(until_ms, known.last_ms))
        self._of_call(call, vocabulary.InteractionDistributed(interaction_id=call.id, queue=call.queue, to_agent_id=agent), at_ms)
        return self._of_agent(
            agent, vocabulary.InteractionRinging(interaction_id=call.id, agent_id=agent, queue=call.queue, media=VOICE), at_ms
        )

    def _connected(self, line: Line) -> None:
        self._named(line, "call", "queue", "agent")
        hold_s, ring_s = line.seconds(0, "holdtime"), line.seconds(2, "ringtime")
        call = self._call_of(line, hold_s)
        if call is None or call.agent:
            self.repeated += call is not None
            return
        self._answer(call, line.agent, self._end_of(call.entered_ms, line.time_ms, hold_s), ring_s)

    def _answer(self, call: _Call, agent: str, at_ms: int, ring_s: int | None) -> None:
        self._stop_ringing(call, at_ms)
        self._rings(call, agent, at_ms - (ring_s or 0) * _SECOND_MS, at_ms)
        call.agent = agent
        call.answered_ms = self._of_agent(
            agent, vocabulary.InteractionEstablished(interaction_id=call.id, agent_id=agent, call_type="inbound", queue=call.queue), at_ms
        )

    def _completed(self, line: Line) -> None:
        self._released(line, line.seconds(0, "holdtime"), line.seconds(1, "calltime"))

    def _transferred(self, line: Line) -> None:
        """Release a call that was transferred. The parameters are the destination in two or three parts, then the durations and the
        position; old versions of Asterisk do not write the position.
        """
        hold, talk = (-3, -2) if len(line.parameters) >= 5 else (2, 3)
        self._released(line, line.seconds(hold, "holdtime"), line.seconds(talk, "calltime"))

    def _released(self, line: Line, hold_s: int | None, talk_s: int | None) -> None:
        self._named(line, "call", "queue", "agent")
        call = self._call_of(line, None if hold_s is None and talk_s is None else (hold_s or 0) + (talk_s or 0))
        if call is None:
            return
        if not call.agent:  # its answer is not in the log
            answered_ms = line.time_ms - (talk_s or 0) * _SECOND_MS
            self._answer(call, line.agent, self._end_of(call.entered_ms, answered_ms, hold_s), None)
        at_ms = self._end_of(call.answered_ms, line.time_ms, talk_s)
        at_ms = self._of_agent(call.agent, vocabulary.InteractionReleased(interaction_id=call.id, agent_id=call.agent), at_ms)
        self._end(call, at_ms)

    def _abandoned(self, line: Line) -> None:
        self._named(line, "call", "queue")
        wait_s = line.seconds(2, "waittime")
        call = self._call_of(line, wait_s)
        if call is not None and not call.agent:
            self._lose(call, self._end_of(call.entered_ms, line.time_ms, wait_s))

    def _lose(self, call: _Call, at_ms: int) -> None:
        """The caller gave up; phones that ring for the call stop."""
        self._of_call(call, vocabulary.InteractionAbandoned(interaction_id=call.id, queue=call.queue), at_ms)
        for agent in call.ringing:
            self._agents[agent].last_ms = max(self._agents[agent].last_ms, at_ms)
        call.ringing.clear()
        self._end(call, at_ms)

    def _incompatible(self, line: Line) -> None:
        self._named(line, "call", "queue", "agent")
        call = self._call_of(line, None)
        if call is not None and not call.agent:
            self._rings(call, line.agent, line.time_ms, line.time_ms)
            call.ringing.add(line.agent)
            self._lose(call, line.time_ms)

    def _left(self, line: Line) -> None:
        """Asterisk takes the caller out of the queue: the call was neither answered nor abandoned."""
        self._named(line, "call", "queue")
        wait_s = line.seconds(3 if line.event == "EXITWITHKEY" else 2, "waittime")
        call = self._call_of(line, wait_s)
        if call is not None and not call.agent:
            self._end(call, self._end_of(call.entered_ms, line.time_ms, wait_s))

    def _end(self, call: _Call, at_ms: int) -> None:
        self._stop_ringing(call, at_ms)
        self._of_call(call, vocabulary.InteractionFinished(interaction_id=call.id, media=VOICE), at_ms)
        if call.agent:
            self._agents[call.agent].last_ms = max(self._agents[call.agent].last_ms, at_ms)
        del self._calls[call.id]
        self._ended[call.id] = call.last_ms
        if len(self._ended) > _ENDED:
            del self._ended[next(iter(self._ended))]

    def _stop_ringing(self, call: _Call, at_ms: int) -> None:
        for agent in sorted(call.ringing):
            self._of_agent(agent, vocabulary.InteractionReleased(interaction_id=call.id, agent_id=agent), at_ms)
        call.ringing.clear()

    def _not_answered(self, line: Line) -> None:
        self._reject(line, "missed", line.milliseconds(0, "ringtime"))

    def _dumped(self, line: Line) -> None:
        self._reject(line, "refused", 0)

    def _reject(self, line: Line, reason: str, rang_ms: int) -> None:
        self._named(line, "call", "queue", "agent")
        call = self._call_of(line, None)
        if call is None or call.agent == line.agent:
            return
        self._rings(call, line.agent, line.time_ms - rang_ms, line.time_ms)
        missed = vocabulary.InteractionRejected(
            interaction_id=call.id, agent_id=line.agent, reason="missed" if reason == "missed" else "refused"
        )
        self._of_agent(line.agent, missed, line.time_ms)

    def _ring_cancelled(self, line: Line) -> None:
        """The caller gave up while a phone rang. The line ABANDON comes next; until then the phone rings."""
        self._named(line, "call", "queue", "agent")
        rang_ms = line.milliseconds(0, "ringtime")
        call = self._call_of(line, None)
        if call is not None and not call.agent and line.agent not in call.ringing:
            self._rings(call, line.agent, line.time_ms - rang_ms, line.time_ms)
            call.ringing.add(line.agent)

    def _restarted(self, line: Line) -> None:
        """Asterisk's queues were started again: end all calls, since none continues after that."""
        for call in list(self._calls.values()):
            self._end(call, line.time_ms)

    def _forget(self, now_ms: int) -> None:
        """End calls that entered a day ago or earlier: their end is not in the log."""
        for call in list(self._oldest(now_ms)):
            self._end(call, call.entered_ms + _LONGEST_MS)

    def _oldest(self, now_ms: int) -> Iterator[_Call]:
        for call in self._calls.values():
            if call.entered_ms + _LONGEST_MS > now_ms:
                return
            yield call

    # -- agents -----------------------------------------------------------------------------------------------------

    def _agent(self, line: Line) -> _Agent:
        self._named(line, "agent")
        return self._agents.setdefault(line.agent, _Agent())

    def _settle(self, line: Line, reason: str = "") -> None:
        """Add an event if the agent begins or stops to take calls. An agent who is paused in every queue that the log has named for the
        agent takes no calls.
        """
        known = self._agents[line.agent]
        ready = not (known.away or (known.queues and known.paused >= known.queues))
        if ready and not known.ready:
            self._of_agent(line.agent, vocabulary.AgentReady(agent_id=line.agent), line.time_ms)
        elif not ready and (known.ready is not False or reason):
            self._of_agent(line.agent, vocabulary.AgentNotReady(agent_id=line.agent, reason=reason[:255] or None), line.time_ms)
        known.ready = ready

    def _log_in(self, line: Line) -> None:
        known = self._agents[line.agent]
        if known.ready is None:
            self._of_agent(line.agent, vocabulary.AgentLogin(agent_id=line.agent), line.time_ms)
            known.ready = False

    def _log_out(self, line: Line) -> None:
        self._agents[line.agent] = _Agent(self._agents[line.agent].last_ms)
        self._of_agent(line.agent, vocabulary.AgentLogout(agent_id=line.agent), line.time_ms)

    def _member_added(self, line: Line) -> None:
        self._named(line, "queue")
        known = self._agent(line)
        known.queues.add(line.queue)
        if line.text(0).upper() == "PAUSED":
            known.paused.add(line.queue)
        self._log_in(line)
        self._settle(line)

    def _member_removed(self, line: Line) -> None:
        self._named(line, "queue")
        known = self._agent(line)
        known.queues.discard(line.queue)
        known.paused.discard(line.queue)
        if known.queues:
            self._settle(line)
        else:
            self._log_out(line)

    def _logged_in(self, line: Line) -> None:
        self._agent(line)
        self._log_in(line)
        self._settle(line)

    def _logged_off(self, line: Line) -> None:
        self._agent(line)
        self._log_out(line)

    def _paused(self, line: Line) -> None:
        known = self._agent(line)
        if line.queue:
            known.queues.add(line.queue)
            known.paused.add(line.queue)
        else:
            known.away = True
        self._settle(line, line.text(0))

    def _unpaused(self, line: Line) -> None:
        known = self._agent(line)
        if line.queue:
            known.queues.add(line.queue)
            known.paused.discard(line.queue)
        else:
            known.paused.clear()
        known.away = False
        self._settle(line)
