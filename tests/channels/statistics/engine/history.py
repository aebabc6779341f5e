"""The reference's first half: the history, every interval and moment that there ever was, by a simple model of the events.

After each event it derives the set of everything that goes on from the state; what was added to the set begins, what is missing from it
ended. Events come in order.
"""

from __future__ import annotations

from typing import Any

from channels import events as e
from channels.statistics.engine.vocabulary import STATUS_CODES
from tests.channels.statistics.engine.history_parts import (
    CALLS,
    CUSTOMERS,
    IDLE_MS,
    TALK,
    Break,
    Call,
    Dn,
    Interval,
    Membership,
    Moment,
    Part,
    Wrap,
)


class History:
    def __init__(self) -> None:
        self.dns: dict[str, dict[str, Dn]] = {}
        """By agent and medium; of two logins on one medium the second is ``voice#2``."""
        self.places: dict[str, str | None] = {}
        self.released: dict[str, tuple[str, str, str | None] | None] = {}
        self.queues: set[str] = set()
        self.calls: dict[str, Call] = {}
        self.intervals: list[Interval] = []
        self.open: dict[tuple[Any, ...], Interval] = {}
        self.moments: list[Moment] = []
        self.memberships: list[Membership] = []
        self.number = 0
        self.at = 0

    # --- taking events -------------------------------------------------------------------------------------------------------------------

    def apply(self, event: e.Event) -> None:
        self.number += 1
        self.at = event.time_ms
        data: Any = event.data
        interaction = getattr(data, "interaction_id", None)
        if interaction is not None:
            call = self.calls.get(interaction)
            if call is not None and not self.active(interaction) and self.at >= call.touched + IDLE_MS:
                del self.calls[interaction]
        getattr(self, type(data).__name__)(data)
        if interaction in self.calls:
            self.calls[interaction].touched = self.at
        if interaction in self.calls and self.taken(interaction):
            self.served(interaction, "InteractionDistributed")
        self.settle()

    def active(self, interaction: str) -> bool:
        call = self.calls[interaction]
        return call.waiting is not None or (call.area is not None and not call.finished) or self.taken(interaction)

    def taken(self, interaction: str) -> bool:
        return any(interaction in dn.parts for dns in self.dns.values() for dn in dns.values())

    def facts(self) -> dict[tuple[Any, ...], tuple[tuple[str, str], tuple[str, str, str]]]:
        found: dict[tuple[Any, ...], tuple[tuple[str, str], tuple[str, str, str]]] = {}
        for agent, dns in self.dns.items():
            owner = ("agent", agent)
            if not any(dn.logged_in for dn in dns.values()):
                found["out", agent] = (owner, ("action", "LoggedOut", ""))
            for key, dn in dns.items():
                media, codes = dn.media, []
                if dn.logged_in:
                    found["in", agent, key] = (owner, ("action", "LoggedIn", media))
                    busy = any(p.action in TALK or p.action == "CallRinging" for p in dn.parts.values())
                    if dn.mode != "WaitForNextCall" or not busy:
                        found["mode", agent, key, dn.mode] = (owner, ("action", dn.mode, media))
                        codes.append(STATUS_CODES[dn.mode])
                    codes.append(2)
                for interaction, part in dn.parts.items():
                    found["part", agent, interaction, part.action] = (owner, ("action", part.action, media))
                    if part.held:
                        found["hold", agent, interaction] = (owner, ("action", "CallOnHold", media))
                    codes.append(13 if part.held else STATUS_CODES[part.action])
                if codes:
                    found["dn", agent, key, max(codes)] = (owner, ("dn", self.status_name(max(codes)), media))
            code = self.agent_status(dns)
            found["status", agent, code] = (owner, ("status", self.status_name(code), ""))
        for interaction, call in self.calls.items():
            if call.waiting is not None:
                found["wait", interaction, call.waiting, call.visits[call.waiting]["number"]] = (
                    ("queue", call.waiting),
                    ("action", "CallWait", call.media),
                )
            if call.awaited is not None and call.area is not None:
                found["await", interaction, call.awaited] = (("area", call.area), ("action", "InteractionWait", call.area))
        return found

    @staticmethod
    def status_name(code: int) -> str:
        return next(name for name, each in STATUS_CODES.items() if each == code)

    @staticmethod
    def dn_status(dn: Dn) -> int:
        busy = any(p.action in TALK or p.action == "CallRinging" for p in dn.parts.values())
        mode = 2 if dn.mode == "WaitForNextCall" and busy else STATUS_CODES[dn.mode]
        return max([mode, *(13 if p.held else STATUS_CODES[p.action] for p in dn.parts.values())])

    def agent_status(self, dns: dict[str, Dn]) -> int:
        voice = [self.dn_status(dn) for dn in dns.values() if dn.media == "voice" and dn.logged_in]
        others = [self.dn_status(dn) for dn in dns.values() if dn.media != "voice" and dn.logged_in]
        if not voice and not others:
            return 23
        if voice and max(voice) > 8:
            return max(voice)
        if others and max(others) > 8:
            return max(others)
        return max(voice or others)

    def settle(self) -> None:
        facts = self.facts()
        for token in [token for token in self.open if token not in facts]:
            interval = self.open.pop(token)
            interval.end, interval.ended = self.at, self.number
        for token, (owner, key) in facts.items():
            if token not in self.open:
                self.open[token] = Interval(owner, key, self.at, self.number)
                self.intervals.append(self.open[token])

    def start_of(self, *token: Any) -> int:
        return self.open[token].start if token in self.open else self.at

    def since(self, *token: Any) -> int:
        return self.at // 1000 - self.start_of(*token) // 1000

    def say(self, owner: tuple[str, str], name: str, media: str, duration: int = 0, **more: int) -> None:
        self.moments.append(Moment(owner, ("action", name, media), self.at, self.number, duration, **more))

    def join(self, group: tuple[str, str], member: tuple[str, str]) -> None:
        if not any(m.group == group and m.member == member and m.left is None for m in self.memberships):
            self.memberships.append(Membership(group, member, self.at, self.number))

    def agent(self, agent: str) -> dict[str, Dn]:
        if agent not in self.dns:
            self.dns[agent] = {}
            self.join(("agents", "All"), ("agent", agent))
        return self.dns[agent]

    def dn(self, agent: str, media: str, mode: str) -> Dn:
        """The agent on a medium, where the last login was, logged in in this mode if it is not yet."""
        dns = self.agent(agent)
        there = [dn for dn in dns.values() if dn.media == media and dn.logged_in]
        return self.log_in(agent, there[-1] if there else dns.setdefault(media, Dn(media, self.places.get(agent))), mode)

    def log_in(self, agent: str, dn: Dn, mode: str) -> Dn:
        if not dn.logged_in:
            dn.logged_in, dn.mode = True, mode
            self.say(("agent", agent), "AgentLogin", dn.media)
        return dn

    def call(self, interaction: str, media: str | None = None) -> Call | None:
        call = self.calls.setdefault(interaction, Call(media or "voice", self.at))
        return None if call.finished else call

    def part(self, agent: str, interaction: str) -> tuple[str, Dn, Part] | None:
        return next(((dn.media, dn, dn.parts[interaction]) for dn in self.agent(agent).values() if interaction in dn.parts), None)

    def queue(self, queue: str) -> None:
        if queue not in self.queues:
            self.queues.add(queue)
            self.join(("queues", "All"), ("queue", queue))

    # --- agents --------------------------------------------------------------------------------------------------------------------------

    def AgentLogin(self, data: e.AgentLogin) -> None:
        self.agent(data.agent_id)
        for group in data.groups or ():
            self.join(("agents", group), ("agent", data.agent_id))
        self.places[data.agent_id] = data.place_id or self.places.get(data.agent_id)
        dns = self.dns[data.agent_id]
        for media in data.media:
            there = [dn for dn in dns.values() if dn.media == media]
            fits = [dn for dn in there if not dn.logged_in or data.place_id is None or dn.place in (None, data.place_id)]
            if not fits:
                key = next(k for k in (media, f"{media}#2", f"{media}#3", f"{media}#4") if k not in dns)
                fits = [dns.setdefault(key, Dn(media, self.places[data.agent_id]))]
            fits[0].place = data.place_id or fits[0].place
            self.log_in(data.agent_id, fits[0], "NotReadyForNextCall")

    def AgentLogout(self, data: e.AgentLogout) -> None:
        for key, dn in list(self.agent(data.agent_id).items()):
            media = dn.media
            if dn.logged_in and data.media in (None, media):
                self.unwrap(data.agent_id, key, dn)
                dn.logged_in, dn.handled = False, None
                self.say(("agent", data.agent_id), "AgentLogout", media)
                released = self.released.get(data.agent_id)
                if released is not None and released[1] == media:
                    self.released[data.agent_id] = None
        self.tidy(data.agent_id)

    def tidy(self, agent: str) -> None:
        self.dns[agent] = {key: dn for key, dn in self.dns[agent].items() if dn.logged_in or dn.parts}

    def unwrap(self, agent: str, key: str, dn: Dn) -> None:
        self.wrapped(agent, dn)
        if dn.wrap_queue is not None and dn.mode == "AfterCallWork":
            self.queue(dn.wrap_queue)
            self.say(("queue", dn.wrap_queue), "ACWCompleted", dn.media, self.since("mode", agent, key, "AfterCallWork"))
        dn.wrap_queue = None

    def wrapped(self, agent: str, dn: Dn) -> None:
        if dn.wrap is not None:
            self.say(("agent", agent), "CustomerCallWrapped", dn.media, dn.wrap.seconds(self.at), of=dn.wrap.of)
        dn.wrap = None

    def mode(self, agent: str, media: str | None, mode: str) -> None:
        dns = self.agent(agent)
        chosen = [(key, dn) for key, dn in dns.items() if dn.logged_in and media in (None, dn.media)]
        if not chosen:
            self.dn(agent, media or "voice", mode)
        for key, dn in chosen:
            self.unwrap(agent, key, dn)
            dn.mode = mode

    def AgentReady(self, data: e.AgentReady) -> None:
        self.mode(data.agent_id, data.media, "WaitForNextCall")

    def AgentNotReady(self, data: e.AgentNotReady) -> None:
        self.mode(data.agent_id, data.media, "NotReadyForNextCall")

    def AgentAfterCallWork(self, data: e.AgentAfterCallWork) -> None:
        dns = self.agent(data.agent_id)
        call = self.calls.get(data.interaction_id or "")
        last = self.released.get(data.agent_id)
        logged_in = [dn.media for dn in dns.values() if dn.logged_in]
        if data.media is not None:
            media = data.media
        elif call is not None:
            media = call.media
        elif last is not None:
            media = last[1]
        else:
            media = "voice" if "voice" in dns or not logged_in else logged_in[0]
        at_work = [dn for dn in dns.values() if dn.media == media and dn.logged_in and dn.handled is not None]
        there = max(at_work, key=lambda each: each.handled or 0, default=None)
        known = there or next((dn for dn in reversed(dns.values()) if dn.media == media and dn.logged_in), None)
        was = known is not None and known.mode == "AfterCallWork"
        dn = known or self.dn(data.agent_id, media, "AfterCallWork")
        if was:
            if dn.wrap is not None and dn.handled is not None and dn.handled > dn.wrap.of:
                self.wrapped(data.agent_id, dn)
                dn.wrap = Wrap(dn.handled, self.at)
            return
        if dn.handled is not None:
            if data.interaction_id is not None:
                early = data.interaction_id in dn.parts
            else:
                early = any(p.customer is not None and p.customer >= dn.handled for p in dn.parts.values())
            dn.wrap = None if early else Wrap(dn.handled, self.at)
        dn.mode = "AfterCallWork"
        if last is not None and last[1] == media and data.interaction_id in (None, last[0]):
            dn.wrap_queue = last[2]
        elif call is not None:
            dn.wrap_queue = call.queue

    # --- queues --------------------------------------------------------------------------------------------------------------------------

    def InteractionQueued(self, data: e.InteractionQueued) -> None:
        if self.call(data.interaction_id, data.media) is None:
            self.calls[data.interaction_id] = Call(data.media, self.at)
        self.enter(data.interaction_id, data.queue)

    def enter(self, interaction: str, queue: str) -> None:
        call = self.calls[interaction]
        self.queue(queue)
        if call.waiting == queue:
            return
        if call.waiting is not None:
            self.leave(interaction, "CallDistributedToQueue")
        call.queue = call.waiting = queue
        call.visits[queue] = {"at": self.at, "distributed": False, "number": self.number}
        self.say(("queue", queue), "CallEntered", call.media)

    def leave(self, interaction: str, name: str) -> None:
        call = self.calls[interaction]
        queue = call.waiting
        assert queue is not None
        visit = call.visits[queue]
        self.say(("queue", queue), name, call.media, self.at // 1000 - visit["at"] // 1000)
        if ("wait", interaction, queue, visit["number"]) not in self.open:  # it entered by this very event
            key = ("action", "CallWait", call.media)
            self.intervals.append(Interval(("queue", queue), key, self.at, self.number, self.at, self.number))
        call.waiting = None

    def through(self, interaction: str, queue: str) -> None:
        call = self.calls[interaction]
        if queue not in call.visits:
            self.enter(interaction, queue)
        visit = call.visits[queue]
        if call.waiting == queue and not visit["distributed"]:
            visit["distributed"] = True
            self.say(("queue", queue), "CallDistributed", call.media, self.at // 1000 - visit["at"] // 1000)

    def answer(self, interaction: str, queue: str) -> None:
        self.through(interaction, queue)
        if self.calls[interaction].waiting == queue:
            self.leave(interaction, "CallAnswered")

    def InteractionDistributed(self, data: e.InteractionDistributed) -> None:
        call = self.call(data.interaction_id)
        if call is None:
            return
        if data.to_queue is None:
            self.through(data.interaction_id, data.queue)
            return
        if data.queue not in call.visits:
            self.enter(data.interaction_id, data.queue)
        self.enter(data.interaction_id, data.to_queue)

    def InteractionAbandoned(self, data: e.InteractionAbandoned) -> None:
        call = self.call(data.interaction_id)
        if call is None:
            return
        ringing = []
        for agent, dns in self.dns.items():
            for dn in dns.values():
                part = dn.parts.get(data.interaction_id)
                if part is not None and part.action == "CallRinging" and data.agent_id in (None, agent):
                    ringing.append((agent, dn.media, dn, part))
        ringing.sort(key=lambda each: self.open["part", each[0], data.interaction_id, "CallRinging"].begun)
        queue = data.queue
        if queue is None:
            queue = ringing[0][3].queue if ringing else call.queue
        if data.agent_id is not None:
            self.agent(data.agent_id)
        if queue is not None:
            if queue not in call.visits:
                self.enter(data.interaction_id, queue)
            if call.waiting == queue:
                rang = ringing and call.visits[queue]["distributed"]
                self.leave(data.interaction_id, "CallAbandonedFromRinging" if rang else "CallAbandoned")
        if call.waiting is not None:
            self.leave(data.interaction_id, "CallAbandoned")
        for agent, media, dn, _ in ringing:
            self.say(("agent", agent), "CallAbandonedFromRinging", media, self.since("part", agent, data.interaction_id, "CallRinging"))
            del dn.parts[data.interaction_id]
            self.tidy(agent)

    # --- calls ---------------------------------------------------------------------------------------------------------------------------

    def ring(self, data: Any, action: str, name: str) -> None:
        self.agent(data.agent_id)
        call = self.call(data.interaction_id, data.media)
        if call is None or self.part(data.agent_id, data.interaction_id) is not None:
            return
        if action == "CallRinging" and data.queue is not None:
            self.through(data.interaction_id, data.queue)
        media = data.media or call.media
        dn = self.dn(data.agent_id, media, "WaitForNextCall")
        dn.parts[data.interaction_id] = Part(action, data.queue or call.queue)
        self.say(("agent", data.agent_id), name, media)

    def InteractionRinging(self, data: e.InteractionRinging) -> None:
        self.ring(data, "CallRinging", "CallRingingStarted")

    def InteractionDialing(self, data: e.InteractionDialing) -> None:
        self.ring(data, "CallDialing", "CallDialingStarted")

    def talk(self, agent: str, media: str, interaction: str, part: Part, action: str) -> None:
        lasted = self.since("part", agent, interaction, part.action)
        if part.action in TALK:
            self.say(("agent", agent), f"{part.action}Completed", media, lasted)
        if part.action == "CallDialing":
            self.say(("agent", agent), "CallDialed", media, lasted)
        part.action = action
        self.talks(agent, interaction)

    def talks(self, agent: str, interaction: str) -> None:
        """A part is established, or of another type."""
        found = self.part(agent, interaction)
        assert found is not None
        _, dn, part = found
        if part.action in CUSTOMERS and part.customer is None:
            part.customer = self.at
        if dn.wrap is not None and part.action != "CallConsult" and part.breaks is None:
            part.breaks = Break(self.at)
            dn.wrap.breaks.append(part.breaks)

    def InteractionEstablished(self, data: e.InteractionEstablished) -> None:
        self.agent(data.agent_id)
        call = self.call(data.interaction_id, data.media)
        if call is None:
            return
        found = self.part(data.agent_id, data.interaction_id)
        queue = data.queue or (call.queue if found is None else found[2].queue)
        if queue is not None and (queue in call.visits or data.call_type == "inbound"):
            self.answer(data.interaction_id, queue)
        action = CALLS[data.call_type]
        if found is None:
            media = data.media or call.media
            self.dn(data.agent_id, media, "WaitForNextCall").parts[data.interaction_id] = Part(action, queue)
            self.talks(data.agent_id, data.interaction_id)
        elif found[2].action == action:
            return
        else:
            media = found[0]
            self.talk(data.agent_id, media, data.interaction_id, found[2], action)
            found[2].queue = queue
        self.say(("agent", data.agent_id), f"{action}Started", media)

    def talking(self, agent: str, interaction: str) -> tuple[str, Part] | None:
        self.agent(agent)
        call = self.call(interaction)
        if call is None:
            return None
        found = self.part(agent, interaction)
        if found is not None and found[2].action in TALK:
            return found[0], found[2]
        if call.queue is not None:
            self.answer(interaction, call.queue)
        if found is None:
            part = self.dn(agent, call.media, "WaitForNextCall").parts[interaction] = Part("CallUnknown", call.queue)
            media = call.media
            self.talks(agent, interaction)
        else:
            media, _, part = found
            self.talk(agent, media, interaction, part, "CallUnknown")
        self.say(("agent", agent), "CallUnknownStarted", media)
        return media, part

    def InteractionHeld(self, data: e.InteractionHeld) -> None:
        found = self.talking(data.agent_id, data.interaction_id)
        if found is not None and not found[1].held:
            found[1].held = True
            self.say(("agent", data.agent_id), "CallHeld", found[0])

    def InteractionRetrieved(self, data: e.InteractionRetrieved) -> None:
        found = self.talking(data.agent_id, data.interaction_id)
        if found is not None and found[1].held:
            found[1].held = False
            self.say(("agent", data.agent_id), "CallRetrievedFromHold", found[0], self.since("hold", data.agent_id, data.interaction_id))

    def InteractionReleased(self, data: e.InteractionReleased) -> None:
        self.agent(data.agent_id)
        if data.interaction_id in self.calls:
            self.release(data.agent_id, data.interaction_id, transferred=False)

    def release(self, agent: str, interaction: str, *, transferred: bool) -> None:
        found = self.part(agent, interaction)
        if found is None:
            return
        media, dn, part = found
        lasted = self.since("part", agent, interaction, part.action)
        if part.action in TALK:
            self.say(("agent", agent), f"{part.action}Completed", media, lasted)
            self.released[agent] = (interaction, media, part.queue)
            if part.customer is not None:
                self.say(("agent", agent), "CustomerCallHandled", media, began=part.customer)
            if not transferred:
                self.say(("agent", agent), "CallReleased", media, lasted)
                if part.queue is not None:
                    self.queue(part.queue)
                    self.say(("queue", part.queue), "CallReleased", self.calls[interaction].media, lasted)
        if part.action == "CallDialing":
            self.say(("agent", agent), "CallAbandonedFromDialing", media, lasted)
        del dn.parts[interaction]
        if part.breaks is not None:
            part.breaks.end = self.at
        if part.customer is not None:
            dn.handled = self.at
            if dn.wrap is None and dn.mode == "AfterCallWork" and dn.logged_in:
                dn.wrap = Wrap(self.at, self.at)
        elif part.action in TALK and part.action != "CallConsult":
            dn.handled = None
        self.tidy(agent)

    def InteractionRejected(self, data: e.InteractionRejected) -> None:
        self.agent(data.agent_id)
        call = self.call(data.interaction_id)
        if call is None:
            return
        name = "CallMissed" if data.reason == "missed" else "CallForwarded"
        found = self.part(data.agent_id, data.interaction_id)
        if found is not None and found[2].action == "CallRinging":
            lasted = self.since("part", data.agent_id, data.interaction_id, "CallRinging")
            self.say(("agent", data.agent_id), name, found[0], lasted)
            if found[2].queue is not None:
                self.queue(found[2].queue)
                self.say(("queue", found[2].queue), name, call.media, lasted)
            del found[1].parts[data.interaction_id]
            self.tidy(data.agent_id)

    def InteractionTransferred(self, data: e.InteractionTransferred) -> None:
        self.agent(data.from_agent_id)
        self.agent(data.to_agent_id)
        call = self.call(data.interaction_id)
        if call is None:
            return
        given = self.part(data.from_agent_id, data.interaction_id)
        taken = self.part(data.to_agent_id, data.interaction_id)
        again = data.from_agent_id == data.to_agent_id or (taken is not None and taken[2].giver == data.from_agent_id)
        if given is None and again:
            return
        action = given[2].action if given is not None and given[2].action in TALK else "CallUnknown"
        media = call.media if given is None else given[0]
        queue = call.queue if given is None else given[2].queue
        self.say(("agent", data.from_agent_id), "CallTransferMade", media)
        self.release(data.from_agent_id, data.interaction_id, transferred=True)
        if data.from_agent_id == data.to_agent_id:
            return
        self.say(("agent", data.to_agent_id), "CallTransferTaken", media)
        if call.queue is not None and (taken is None or taken[2].action in TALK):
            self.answer(data.interaction_id, call.queue)
        if taken is None:
            self.dn(data.to_agent_id, media, "WaitForNextCall").parts[data.interaction_id] = Part(action, queue)
            self.talks(data.to_agent_id, data.interaction_id)
            self.say(("agent", data.to_agent_id), f"{action}Started", media)
        elif taken[2].action in TALK and taken[2].action != action:
            self.talk(data.to_agent_id, taken[0], data.interaction_id, taken[2], action)
            taken[2].queue = queue
            self.say(("agent", data.to_agent_id), f"{action}Started", taken[0])
        now = self.part(data.to_agent_id, data.interaction_id)
        assert now is not None
        now[2].giver = data.from_agent_id

    def InteractionStarted(self, data: e.InteractionStarted) -> None:
        if self.call(data.interaction_id, data.media) is None:
            self.calls[data.interaction_id] = Call(data.media, self.at)
        self.exists(data.interaction_id, data.media)

    def exists(self, interaction: str, media: str) -> None:
        call = self.calls[interaction]
        if call.area is None:
            call.area, call.entered = media, self.at
            call.awaited = None if self.taken(interaction) else self.number
            self.say(("area", media), "InteractionEntered", media)

    def served(self, interaction: str, name: str | None) -> None:
        call = self.calls[interaction]
        if call.awaited is None or call.area is None:
            return
        if name is not None:
            self.say(("area", call.area), name, call.area, self.at // 1000 - call.entered // 1000)
        if ("await", interaction, call.awaited) not in self.open:  # it entered by this very event
            key = ("action", "InteractionWait", call.area)
            self.intervals.append(Interval(("area", call.area), key, self.at, self.number, self.at, self.number))
        call.awaited = None

    def InteractionFinished(self, data: e.InteractionFinished) -> None:
        call = self.call(data.interaction_id, data.media)
        if call is None:
            return
        self.exists(data.interaction_id, data.media)
        if call.waiting is not None:
            self.leave(data.interaction_id, "CallCleared")
        for agent in list(self.dns):
            self.release(agent, data.interaction_id, transferred=False)
        self.served(data.interaction_id, None)
        self.say(("area", call.area or ""), "InteractionDeleted", call.area or "", self.at // 1000 - call.entered // 1000)
        call.finished = True

    def GroupChanged(self, data: e.GroupChanged) -> None:
        group = (data.kind, data.group_id)
        kind = "agent" if data.kind == "agents" else "queue"
        for membership in self.memberships:
            if membership.group == group and membership.left is None and membership.member[1] not in data.members:
                membership.left, membership.left_number = self.at, self.number
        for member in data.members:
            if kind == "agent":
                self.agent(member)
            else:
                self.queue(member)
            self.join(group, (kind, member))
