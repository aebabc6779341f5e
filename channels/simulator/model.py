"""A contact centre as a discrete-event simulation: customers call, wait, are answered or give up; agents work, pause, transfer, log out.

No clock, no I/O. Time is a number, and one generator with a seed makes all random numbers, so the same seed gives the same events, byte for
byte. A heap contains the planned steps with their times. Each step may emit events and plan further steps.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from channels import events as vocabulary
from channels.events import TYPE_NAMES, VOICE, Event, EventData
from channels.simulator.centre import DAY_MS, HOUR_MS, Centre, QueueProfile
from channels.simulator.chance import Chance
from channels.simulator.ledger import Ledger, seconds_between
from channels.simulator.parties import Agent, Call, Queue
from channels.simulator.status import Status

_RING_S = 5.0
_RING_OUT_S = 18.0
_CONSULT_S = 35.0
_TRANSFER_PROBABILITY = 0.65
_NO_ANSWER_PROBABILITY = 0.25
_INTERNAL_PROBABILITY = 0.2
_SUBTYPES = {"inbound": "InboundNew", "outbound": "Outbound"}
_TOPICS = ("invoice", "contract", "delivery", "repair", "new order", "complaint")


class Model:
    """One centre from ``start_ms`` on.

    Args:
        centre: The queues, agents and customers.
        seed: The seed of the random numbers.
        start_ms: The start, in milliseconds since 1970 UTC. All agents are logged out; those whose shift has begun log in soon after.
        midnight_ms: A midnight of the centre's clock, not after ``start_ms``: shifts and the customers of each hour are counted from it.
        source: The source of the events.
        run: The prefix of every id, so that two runs have different interactions.
        log_out_first: Whether agents may be logged in from an earlier run: then the first events log all of them out.
        unfinished: (id, medium) of interactions that an earlier run left open; the first events finish them.
    """

    def __init__(
        self,
        centre: Centre,
        *,
        seed: int,
        start_ms: int,
        midnight_ms: int,
        source: str = "/simulator",
        run: str = "s",
        log_out_first: bool = False,
        unfinished: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.centre = centre
        self.ledger = Ledger([agent.id for agent in centre.agents], [queue.name for queue in centre.queues], start_ms)
        self._chance = Chance(seed)
        self._now = start_ms
        self._midnight_ms = midnight_ms
        self._source = source
        self._run = run
        self._out: list[Event] = []
        self._events = 0
        self._calls = 0
        # planned steps: (time, number of the plan, function, arguments)
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._planned = 0
        # queues and agents; of the idle agents, the one who has been idle for longest comes first
        self._queues = {queue.name: Queue(queue) for queue in centre.queues}
        self._agents = [Agent(profile) for profile in centre.agents]
        self._idle: dict[Agent, None] = {}
        self._open: dict[str, Call] = {}
        self._shares = [queue.share for queue in centre.queues]
        self._begin(log_out_first, unfinished)

    # -- driving ----------------------------------------------------------------------------------------------------

    @property
    def next_ms(self) -> int | None:
        """The time of the next step; None if there is none."""
        return self._heap[0][0] if self._heap else None

    def run_until(self, until_ms: int) -> Iterator[Event]:
        """Yield the events up to and including ``until_ms``, in the order of their times."""
        yield from self._take()
        while self._heap and self._heap[0][0] <= until_ms:
            self._now, _, happen, what = heapq.heappop(self._heap)
            happen(*what)
            yield from self._take()

    def wind_up(self, now_ms: int) -> list[Event]:
        """End the simulation: finish all interactions and log out all agents, so that no agent stays in its last status for ever."""
        self._now = max(self._now, now_ms)
        for call in list(self._open.values()):
            self._finish(call)
        for agent in self._agents:
            if agent.status is not Status.LOGGED_OUT:
                self._log_out(agent)
        self._heap.clear()
        return self._take()

    def _take(self) -> list[Event]:
        out, self._out = self._out, []
        return out

    def _after(self, delay_s: float, happen: Callable[..., None], *what: Any) -> None:
        self._planned += 1
        heapq.heappush(self._heap, (self._now + max(1, round(delay_s * 1000)), self._planned, happen, what))

    def _emit(self, data: EventData) -> None:
        self._events += 1
        self._out.append(Event(TYPE_NAMES[type(data)], self._now, self._source, f"{self._run}-{self._events}", data))

    def _new_call(self, kind: str, media: str) -> Call:
        self._calls += 1
        return Call(f"{self._run}.{self._calls:06d}", kind, media)

    # -- the day ----------------------------------------------------------------------------------------------------

    def _begin(self, log_out_first: bool, unfinished: Sequence[tuple[str, str]]) -> None:
        for identifier, media in unfinished:
            self._emit(vocabulary.InteractionFinished(interaction_id=identifier, media=media, reason="simulator restarted"))
        for group, members in self.centre.groups().items():
            self._emit(vocabulary.GroupChanged(group_id=group, kind="agents", members=tuple(members)))
        for group, queues in self.centre.queue_groups.items():
            self._emit(vocabulary.GroupChanged(group_id=group, kind="queues", members=queues))
        for agent in self._agents:
            if log_out_first:
                self._emit(vocabulary.AgentLogout(agent_id=agent.profile.id))
            into_shift_s = self._into_shift_s(agent)
            if into_shift_s < agent.profile.shift_s:
                self._after(self._chance.between(0, 8), self._log_in, agent, agent.profile.shift_s - into_shift_s)
            else:
                self._plan_next_shift(agent)
        self._plan_arrival()
        if self.centre.outbound_per_hour:
            self._plan_outbound()

    def _time_of_day_ms(self) -> int:
        return (self._now - self._midnight_ms) % DAY_MS

    def _into_shift_s(self, agent: Agent) -> float:
        """Seconds since the agent's last shift began."""
        return (self._time_of_day_ms() / 1000 - agent.profile.shift_start_s) % 86_400

    def _plan_next_shift(self, agent: Agent) -> None:
        to_go_s = 86_400 - self._into_shift_s(agent)
        self._after(to_go_s + self._chance.between(0, 120), self._log_in, agent, agent.profile.shift_s)

    def _plan_arrival(self) -> None:
        """Plan the next customer, by thinning: candidates come at the highest rate of the day, and each is kept with a probability in
        proportion to the rate of its hour.
        """
        highest = max(self.centre.hourly) / HOUR_MS
        if highest > 0:
            self._after(self._chance.exponential(1 / highest) / 1000, self._arrive, highest)

    def _arrive(self, highest: float) -> None:
        if self._chance.happens(self.centre.rate_per_ms(self._time_of_day_ms()) / highest):
            profile = self._chance.weighted(self.centre.queues, self._shares)
            call = self._new_call("inbound", profile.media)
            self._start(call)
            self._enter(call, self._queues[profile.name])
            if profile.patience_s is not None:
                self._after(self._chance.exponential(profile.patience_s) + 2, self._give_up, call)
        self._plan_arrival()

    # -- agents -----------------------------------------------------------------------------------------------------

    def _set(self, agent: Agent, status: Status, *, seen_as: Status | None = None) -> None:
        """Change an agent's status. ``seen_as`` is the status for the ledger, if the statistics show another one."""
        if agent.status is Status.READY and status is not Status.READY:
            self._idle.pop(agent, None)
        agent.status = status
        agent.plan += 1
        self.ledger.status(agent.profile.id, seen_as or status, self._now)

    def _log_in(self, agent: Agent, shift_s: float) -> None:
        profile = agent.profile
        self._emit(
            vocabulary.AgentLogin(agent_id=profile.id, place_id=profile.place, dn=profile.dn, media=profile.media, groups=profile.groups)
        )
        self._set(agent, Status.NOT_READY)
        agent.leaving = False
        agent.break_due = None
        passed_s = profile.shift_s - shift_s
        for at_s, length_s, reason in profile.breaks:
            if at_s > passed_s:
                self._after(at_s - passed_s, self._call_to_break, agent, reason, length_s)
        self._after(shift_s, self._end_shift, agent)
        self._after(self._chance.between(2, 20), self._return, agent, agent.plan)

    def _return(self, agent: Agent, plan: int) -> None:
        """The agent returns from a break or has logged in: make the agent ready, unless the status has changed meanwhile."""
        if agent.plan == plan:
            self._go_on(agent, was_working=False)

    def _go_on(self, agent: Agent, *, was_working: bool) -> None:
        """The agent logs out, begins a break, or is ready. After work (``was_working``) an agent is ready without an event; otherwise an
        event is emitted.
        """
        if agent.leaving:
            self._log_out(agent)
        elif agent.break_due is not None:
            reason, length_s = agent.break_due
            agent.break_due = None
            self._pause(agent, reason, length_s)
        else:
            if not was_working:
                self._emit(vocabulary.AgentReady(agent_id=agent.profile.id))
            self._set(agent, Status.READY)
            self._idle[agent] = None
            self._find_call(agent)

    def _pause(self, agent: Agent, reason: str, length_s: float) -> None:
        self._emit(vocabulary.AgentNotReady(agent_id=agent.profile.id, reason=reason))
        self._set(agent, Status.NOT_READY)
        self._after(length_s, self._return, agent, agent.plan)

    def _call_to_break(self, agent: Agent, reason: str, length_s: int) -> None:
        if agent.status is Status.LOGGED_OUT:
            return
        agent.break_due = (reason, length_s)
        if agent.status is Status.READY:
            self._go_on(agent, was_working=True)

    def _end_shift(self, agent: Agent) -> None:
        agent.leaving = True
        if agent.status in (Status.READY, Status.NOT_READY):
            self._log_out(agent)

    def _log_out(self, agent: Agent) -> None:
        self._emit(vocabulary.AgentLogout(agent_id=agent.profile.id))
        self._set(agent, Status.LOGGED_OUT)
        self._plan_next_shift(agent)

    # -- waiting ----------------------------------------------------------------------------------------------------

    def _enter(self, call: Call, queue: Queue, *, first: bool = False) -> None:
        """A call enters a queue with an event: a new call, or one that no agent answered (``first``: it is the next one of the queue)."""
        self._emit(
            vocabulary.InteractionQueued(
                interaction_id=call.id,
                queue=queue.profile.name,
                media=call.media,
                user_data={"topic": self._chance.choice(_TOPICS), "customer": f"C{self._chance.number(10_000, 100_000)}"},
            )
        )
        self._wait(call, queue, first=first)

    def _wait(self, call: Call, queue: Queue, *, first: bool) -> None:
        call.queue, call.queued_ms, call.agent = queue, self._now, None
        call.plan += 1
        if first:  # nobody answered it: for the ledger it has not left the queue
            queue.waiting.appendleft(call)
        else:
            ledger = self.ledger.queues[queue.profile.name]
            ledger.entered += 1
            ledger.waiting += 1
            call.entered_ms, call.distributed = self._now, False
            queue.waiting.append(call)
        agent = next((agent for agent in self._idle if queue.profile.name in agent.profile.queues), None)
        if agent is not None:
            self._offer(queue.waiting.popleft(), agent)
        elif queue.profile.overflow_to:
            self._after(queue.profile.overflow_s, self._overflow, call, call.plan)

    def _overflow(self, call: Call, plan: int) -> None:
        """A call has waited too long: move it to a queue with more agents. No other event says that it enters that queue."""
        if call.plan != plan:
            return
        origin = call.queue
        assert origin is not None
        target = self._queues.get(origin.profile.overflow_to)
        if target is None or target.profile.media != call.media:
            return
        self._leave(call)
        self._emit(vocabulary.InteractionDistributed(interaction_id=call.id, queue=origin.profile.name, to_queue=target.profile.name))
        self.ledger.queues[origin.profile.name].overflowed += 1
        self._wait(call, target, first=False)

    def _leave(self, call: Call) -> None:
        assert call.queue is not None
        call.queue.waiting.remove(call)
        self.ledger.queues[call.queue.profile.name].waiting -= 1

    def _find_call(self, agent: Agent) -> None:
        """Offer the agent the call that has waited longest in any of the agent's queues."""
        heads = [self._queues[name].waiting[0] for name in agent.profile.queues if self._queues[name].waiting]
        if heads:
            call = min(heads, key=lambda call: call.queued_ms)
            assert call.queue is not None
            self._offer(call.queue.waiting.popleft(), agent)

    def _give_up(self, call: Call) -> None:
        """The caller's patience is over: end the call as abandoned, if it still waits or rings."""
        queue = call.queue
        if queue is None or call.answered_ms:
            return
        ledger = self.ledger.queues[queue.profile.name]
        ledger.abandoned_s += seconds_between(call.entered_ms, self._now)
        if call.agent is None:
            self._leave(call)
            self._emit(vocabulary.InteractionAbandoned(interaction_id=call.id, queue=queue.profile.name))
            ledger.abandoned += 1
            self._finish(call)
            return
        agent = call.agent
        self._emit(vocabulary.InteractionAbandoned(interaction_id=call.id, agent_id=agent.profile.id))
        ledger.abandoned_ringing += 1
        ledger.waiting -= 1
        self.ledger.agents[agent.profile.id].missed += 1
        self._finish(call)
        self._go_on(agent, was_working=True)

    def _start(self, call: Call) -> None:
        self._open[call.id] = call
        self._emit(vocabulary.InteractionStarted(interaction_id=call.id, media=call.media, subtype=_SUBTYPES[call.kind]))

    def _finish(self, call: Call) -> None:
        call.plan += 1
        call.queue = None
        del self._open[call.id]
        self._emit(vocabulary.InteractionFinished(interaction_id=call.id, media=call.media, subtype=_SUBTYPES[call.kind]))

    # -- ringing ----------------------------------------------------------------------------------------------------

    def _offer(self, call: Call, agent: Agent) -> None:
        """Let a call ring at an agent's phone. The caller of this method has removed it from the head of its queue."""
        assert call.queue is not None
        name = call.queue.profile.name
        if not call.distributed:
            ledger = self.ledger.queues[name]
            ledger.distributed += 1
            ledger.distributed_s += seconds_between(call.entered_ms, self._now)
            call.distributed = True
        call.agent = agent
        call.plan += 1
        self._emit(vocabulary.InteractionDistributed(interaction_id=call.id, queue=name, to_agent_id=agent.profile.id))
        self._emit(vocabulary.InteractionRinging(interaction_id=call.id, agent_id=agent.profile.id, queue=name, media=call.media))
        # statistics show the phone's status, unless another medium's is above "not ready"; ringing on another medium is below it
        elsewhere = call.media != VOICE and VOICE in agent.profile.media
        self._set(agent, Status.RINGING, seen_as=Status.READY if elsewhere else None)
        chance = self._chance.share()
        if chance < self.centre.missed_probability:
            self._after(_RING_OUT_S, self._reject, call, call.plan, "missed")
        elif chance < self.centre.missed_probability + self.centre.refused_probability:
            self._after(self._chance.log_normal(_RING_S, 0.4), self._reject, call, call.plan, "refused")
        else:
            self._after(self._chance.log_normal(_RING_S, 0.4), self._answer, call, call.plan)

    def _reject(self, call: Call, plan: int, reason: str) -> None:
        """The agent did not answer or refused: the agent becomes not ready, and the call returns to the head of its queue."""
        if call.plan != plan:
            return
        agent, queue = call.agent, call.queue
        assert agent is not None
        assert queue is not None
        missed = reason == "missed"
        self._emit(
            vocabulary.InteractionRejected(interaction_id=call.id, agent_id=agent.profile.id, reason="missed" if missed else "refused")
        )
        ledger = self.ledger.agents[agent.profile.id]
        if missed:
            ledger.missed += 1
        else:
            ledger.refused += 1
        self._pause(agent, "no answer" if missed else "refused a call", self._chance.log_normal(60 if missed else 25, 0.5))
        self._enter(call, queue, first=True)

    def _answer(self, call: Call, plan: int) -> None:
        if call.plan != plan:
            return
        agent, queue = call.agent, call.queue
        assert agent is not None
        assert queue is not None
        profile = queue.profile
        self.ledger.answered(profile.name, call.entered_ms, self._now)
        self._connect(call, agent, "inbound", queue=profile.name, media=call.media)
        length_s = max(8.0, self._chance.log_normal(profile.handling_s, profile.handling_sigma))
        if self._chance.happens(profile.consult_probability):
            self._split(call, length_s, consult=True)
        elif self._chance.happens(profile.hold_probability):
            self._split(call, length_s, consult=False)
        else:
            self._talk_on(call, length_s)

    def _connect(self, call: Call, agent: Agent, call_type: Any, *, queue: str | None = None, media: str | None = None) -> None:
        self._emit(
            vocabulary.InteractionEstablished(
                interaction_id=call.id, agent_id=agent.profile.id, call_type=call_type, queue=queue, media=media
            )
        )
        self._set(agent, Status.TALK)
        call.answered_ms = self._now
        call.plan += 1

    # -- talking ----------------------------------------------------------------------------------------------------

    def _talk_on(self, call: Call, length_s: float) -> None:
        self._after(length_s, self._hang_up, call)

    def _split(self, call: Call, length_s: float, *, consult: bool) -> None:
        """Plan a hold, or a consult, at a random time in the middle half of the conversation."""
        at = self._chance.between(0.25, 0.75)
        call.left_ms = round(length_s * (1 - at) * 1000)
        call.consult_due = consult
        self._after(length_s * at, self._hold, call)

    def _hold(self, call: Call) -> None:
        agent = call.agent
        assert agent is not None
        colleague = self._colleague(agent) if call.consult_due else None
        if call.consult_due and colleague is None:  # no colleague is idle
            self._talk_on(call, call.left_ms / 1000)
            return
        call.plan += 1
        self._emit(vocabulary.InteractionHeld(interaction_id=call.id, agent_id=agent.profile.id))
        self._set(agent, Status.HOLD)
        if colleague is None:
            self._after(self._chance.log_normal(30, 0.6), self._retrieve, call)
        else:
            self._consult(call, agent, colleague)

    def _retrieve(self, call: Call) -> None:
        agent = call.agent
        assert agent is not None
        self._emit(vocabulary.InteractionRetrieved(interaction_id=call.id, agent_id=agent.profile.id))
        self._set(agent, Status.TALK)
        call.plan += 1
        self._talk_on(call, call.left_ms / 1000)

    def _hang_up(self, call: Call) -> None:
        agent = call.agent
        assert agent is not None
        self._emit(vocabulary.InteractionReleased(interaction_id=call.id, agent_id=agent.profile.id))
        self.ledger.call_ended(agent.profile.id, call.kind, call.answered_ms, self._now)
        second = call.second
        if second is not None:
            self._emit(vocabulary.InteractionReleased(interaction_id=call.id, agent_id=second.profile.id))
            self.ledger.call_ended(second.profile.id, call.kind, call.answered_ms, self._now)
        queue = call.queue
        if call.kind in ("inbound", "outbound"):
            self._finish(call)
        if queue is not None:
            self._wrap(call, agent, queue.profile)
        else:
            self._go_on(agent, was_working=True)
        if second is not None:
            self._go_on(second, was_working=True)

    def _wrap(self, call: Call, agent: Agent, profile: QueueProfile) -> None:
        """After a call: the agent begins after-call work, or is ready for the next call."""
        if not self._chance.happens(profile.wrap_probability):
            self._go_on(agent, was_working=True)
            return
        self._emit(vocabulary.AgentAfterCallWork(agent_id=agent.profile.id, media=call.media, interaction_id=call.id))
        self._set(agent, Status.WRAP)
        self._after(max(2.0, self._chance.log_normal(profile.wrap_s, 0.5)), self._wrapped, agent, self._now)

    def _wrapped(self, agent: Agent, began_ms: int) -> None:
        self.ledger.agents[agent.profile.id].wraps_s += seconds_between(began_ms, self._now)
        self._go_on(agent, was_working=False)

    # -- calls between agents, and outbound calls -------------------------------------------------------------------

    def _colleague(self, agent: Agent) -> Agent | None:
        return next((other for other in self._idle if other is not agent and VOICE in other.profile.media), None)

    def _consult(self, call: Call, agent: Agent, colleague: Agent) -> None:
        """``agent`` has put ``call`` on hold and calls a colleague; the caller stays on hold until the consult ends."""
        consult = self._new_call("consult", VOICE)
        consult.agent, consult.second = agent, colleague
        self._emit(vocabulary.InteractionDialing(interaction_id=consult.id, agent_id=agent.profile.id, media=VOICE))
        self._emit(vocabulary.InteractionRinging(interaction_id=consult.id, agent_id=colleague.profile.id, media=VOICE))
        self._set(colleague, Status.RINGING)
        self._after(self._chance.log_normal(_RING_S, 0.4), self._consult_answered, call, consult)

    def _consult_answered(self, call: Call, consult: Call) -> None:
        agent, colleague = consult.agent, consult.second
        assert agent is not None
        assert colleague is not None
        self._connect(consult, colleague, "consult", media=VOICE)
        self._connect(consult, agent, "consult", media=VOICE)
        self._after(max(5.0, self._chance.log_normal(_CONSULT_S, 0.5)), self._consult_ended, call, consult)

    def _consult_ended(self, call: Call, consult: Call) -> None:
        """The call is transferred to the colleague, or the agent continues it."""
        agent, colleague = consult.agent, consult.second
        assert agent is not None
        assert colleague is not None
        for party in (agent, colleague):
            self._emit(vocabulary.InteractionReleased(interaction_id=consult.id, agent_id=party.profile.id))
            self.ledger.call_ended(party.profile.id, "consult", consult.answered_ms, self._now)
        if not self._chance.happens(_TRANSFER_PROBABILITY):
            self._retrieve(call)
            self._go_on(colleague, was_working=True)
            return
        assert call.queue is not None
        self._emit(
            vocabulary.InteractionTransferred(interaction_id=call.id, from_agent_id=agent.profile.id, to_agent_id=colleague.profile.id)
        )
        self.ledger.call_ended(agent.profile.id, call.kind, call.answered_ms, self._now)
        self.ledger.agents[agent.profile.id].transferred += 1
        call.agent, call.answered_ms = colleague, self._now
        call.plan += 1
        self._set(colleague, Status.TALK)
        self._talk_on(call, max(5.0, call.left_ms / 1000))
        self._wrap(call, agent, call.queue.profile)

    def _plan_outbound(self) -> None:
        self._after(self._chance.exponential(3600 / self.centre.outbound_per_hour), self._dial)

    def _dial(self) -> None:
        """An idle agent calls a customer or a colleague, at quiet hours with a lower probability."""
        busy = self.centre.rate_per_ms(self._time_of_day_ms()) * HOUR_MS / max(self.centre.hourly)
        callers = [agent for agent in self._idle if VOICE in agent.profile.media]
        if callers and self._chance.happens(busy):
            agent = self._chance.choice(callers)
            colleague = self._colleague(agent) if self._chance.happens(_INTERNAL_PROBABILITY) else None
            call = self._new_call("internal" if colleague else "outbound", VOICE)
            call.agent, call.second = agent, colleague
            if colleague is None:
                self._start(call)
            self._emit(vocabulary.InteractionDialing(interaction_id=call.id, agent_id=agent.profile.id, media=VOICE))
            self._set(agent, Status.DIALING)
            if colleague is not None:
                self._emit(vocabulary.InteractionRinging(interaction_id=call.id, agent_id=colleague.profile.id, media=VOICE))
                self._set(colleague, Status.RINGING)
                self._after(self._chance.log_normal(_RING_S, 0.4), self._dialed, call)
            elif self._chance.happens(_NO_ANSWER_PROBABILITY):
                self._after(_RING_OUT_S * 1.4, self._not_answered, call)
            else:
                self._after(self._chance.log_normal(_RING_S * 2, 0.4), self._dialed, call)
        self._plan_outbound()

    def _not_answered(self, call: Call) -> None:
        agent = call.agent
        assert agent is not None
        self._emit(vocabulary.InteractionReleased(interaction_id=call.id, agent_id=agent.profile.id))
        self._finish(call)
        self._go_on(agent, was_working=True)

    def _dialed(self, call: Call) -> None:
        agent, second = call.agent, call.second
        assert agent is not None
        if second is not None:
            self._connect(call, second, call.kind, media=VOICE)
        self._connect(call, agent, call.kind, media=VOICE)
        self._talk_on(call, max(6.0, self._chance.log_normal(40 if second else 150, 0.6)))
