"""What is measured, one function each. Every figure is of the hub's process tree and, where there is one, stands beside the kernel's limit
in the same run; runs alternate, and medians are told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from bench.auth import auth
from bench.comeback import comeback
from bench.crossing import crossing
from bench.files import files
from bench.floods import floods
from bench.generator import Answer, Generator
from bench.machine import cpu_us, median, resident_kib
from bench.media_keys import media_keys
from bench.peers.servers import STARTS
from bench.personal import personal
from bench.relayed import relayed
from bench.result import Result, Row, Size, goal
from bench.servers import Hub, Limit, Server
from bench.transfers import transfers
from bench.workers import workers
from tests.conformance.peers.servers import ToolchainError

ENVELOPE = 45
"""Bytes that the hub's frame has around the data; the limit's frames are as large."""


@contextmanager
def _opened(server: Server, generator: Generator, transport: str, clients: int, **more: object) -> Iterator[Callable[..., Answer]]:
    """Subscribers and one publisher; yields ``run(messages, window)``, which adds CPU of the server per delivery to the answer."""
    generator("open", group=f"{server.name[0]}s", count=clients, channel=server.channel("0"), **(server.subscribers(transport) | more))
    generator("open", group=f"{server.name[0]}p", count=1, **server.publishers())
    size = 200 if server.name == "hub" else 200 + ENVELOPE

    def run(messages: int, window: int) -> Answer:
        before, own = cpu_us(server.pid), cpu_us(generator.pid)
        answer = generator(
            "rounds",
            from_=f"{server.name[0]}p",
            to=f"{server.name[0]}s",
            channel=server.channel("0"),
            size=size,
            messages=messages,
            window=window,
            each=clients,
        )
        answer["rate"] = answer["deliveries"] / answer["seconds"]
        answer["cpu_us"] = (cpu_us(server.pid) - before) / answer["deliveries"]
        answer["generator_us"] = (cpu_us(generator.pid) - own) / answer["deliveries"]
        return answer

    yield run


@contextmanager
def _both(size: Size, clients: int) -> Iterator[tuple[Callable[..., Answer], Callable[..., Answer]]]:
    """``run`` of the hub and of the limit, by one generator."""
    hub, limit, generator = Hub(), Limit(), Generator()
    try:
        with _opened(hub, generator, "bayeux-ws", clients) as ours, _opened(limit, generator, "limit", clients) as theirs:
            yield ours, theirs
    finally:
        generator.close()
        hub.close()
        limit.close()


def fan_out(size: Size) -> Result:
    """One channel, everybody subscribed: one message at a time, then 20 in flight, then what a frame costs by what it carries."""
    result = Result("fan-out over WebSocket")
    messages = max(5, size.deliveries // size.clients)
    with _both(size, size.clients) as (ours, theirs):
        ours(messages // 4 + 1, 1)
        theirs(messages // 4 + 1, 1)
        one = [(theirs(messages, 1), ours(messages, 1)) for _ in range(size.runs)]
        many = [(theirs(messages * 5, 20), ours(messages * 5, 20)) for _ in range(size.runs)]
        points = []
        for window in (1, 2, 5, 10, 20):
            answer = ours(messages * window, window)
            per_frame = answer["deliveries"] / answer["frames"]
            points.append((per_frame, answer["cpu_us"] * per_frame))
    what = f"{size.clients:,} subscribers, one message at a time"
    rate = Row(what, "deliveries/s", median(h["rate"] for _, h in one), "", median(c["rate"] for c, _ in one))
    ratio = median(h["rate"] / c["rate"] for c, h in one)
    cpu = Row(what, "server CPU a delivery", median(h["cpu_us"] for _, h in one), "us", median(c["cpu_us"] for c, _ in one))
    cost = median(h["cpu_us"] / c["cpu_us"] for c, h in one)
    result.rows += [
        goal(rate, size, f"at least 0.65 x the C program's: {ratio:.2f}", ratio >= 0.65),
        goal(cpu, size, f"at most 1.6 x the C program's: {cost:.2f}", cost <= 1.6),
    ]
    flight = Row(
        f"{size.clients:,} subscribers, 20 messages in flight",
        "deliveries/s",
        median(h["rate"] for _, h in many),
        "",
        median(c["rate"] for c, _ in many),
    )
    result.rows.append(goal(flight, size, "at least 500,000", flight.value >= 500_000))
    base, slope = fitted(points)
    result.rows.append(Row("a frame with n messages", "server CPU", base, f"us + {slope:.2f} us x n"))
    result.rows.append(
        Row("the load generator, one message at a time", "its CPU a delivery", median(h["generator_us"] for _, h in one), "us")
    )
    result.detail = {"one": one, "in_flight": many, "frames": points}
    return result


def fitted(points: list[tuple[float, float]]) -> tuple[float, float]:
    """The line through points by least squares: (value at 0, slope)."""
    count = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
    return mean_y - slope * mean_x, slope


def growth(size: Size) -> Result:
    """The same with few and with very many subscribers: the cost of a delivery should not depend on how many there are.

    Each run opens every size anew, on the limit and then on the hub, and compares what stands side by side: a machine that is slower for a
    while is slower for all of a run.
    """
    result = Result("growth")
    between = round((size.clients * size.many) ** 0.5)
    sizes = (size.clients // 10, size.clients, between, size.many)
    runs = [
        {clients: (_one_at_a_time(Limit(), clients, size), _one_at_a_time(Hub(), clients, size)) for clients in sizes}
        for _ in range(size.runs)
    ]
    for clients in sizes:
        limits, hubs = zip(*(run[clients] for run in runs), strict=True)
        rate, of_limit = median(hub["rate"] for hub in hubs), median(limit["rate"] for limit in limits)
        cpu = median(hub["cpu_us"] for hub in hubs)
        result.rows += [
            Row(f"{clients:,} subscribers", "deliveries/s", rate, "", of_limit),
            Row(f"{clients:,} subscribers", "server CPU a delivery", cpu, "us", median(limit["cpu_us"] for limit in limits)),
        ]
        result.detail[str(clients)] = {"hub": rate, "C limit": of_limit}
    relative = [{clients: hub["cpu_us"] / limit["cpu_us"] for clients, (limit, hub) in run.items()} for run in runs]
    grown = median(run[size.many] / run[size.clients] for run in relative)
    row = Row(f"{size.many:,} against {size.clients:,}", "CPU relative to C, ratio of the two", grown, "")
    result.rows.append(goal(row, size, "at most 1.15", grown <= 1.15))
    return result


def _one_at_a_time(server: Server, clients: int, size: Size) -> Answer:
    """One run of one server, alone: with the other beside it twice as many files would be open."""
    generator = Generator()
    try:
        with _opened(server, generator, "bayeux-ws" if server.name == "hub" else "limit", clients) as run:
            run(2, 1)
            return run(max(3, size.deliveries // clients), 1)
    finally:
        generator.close()
        server.close()


@contextmanager
def _hub() -> Iterator[tuple[Hub, Generator]]:
    hub, generator = Hub(), Generator()
    try:
        yield hub, generator
    finally:
        generator.close()
        hub.close()


def latency(size: Size) -> Result:
    """A steady 20 messages a second."""
    result = Result("latency")
    runs = []
    for _ in range(size.runs):
        with _hub() as (hub, generator):
            generator("open", group="s", count=size.clients, channel=hub.channel("0"), **hub.subscribers("bayeux-ws"))
            generator("open", group="p", count=1, **hub.publishers())
            before = cpu_us(hub.pid)
            runs.append(
                generator(
                    "rate",
                    from_="p",
                    to="s",
                    channel=hub.channel("0"),
                    size=200,
                    batch=1,
                    interval_us=50_000,
                    seconds=size.seconds,
                    each=size.clients,
                )
            )
            runs[-1]["cpu_us"] = (cpu_us(hub.pid) - before) / runs[-1]["deliveries"]
    p50, p99 = median(run["p50_ms"] for run in runs), median(run["p99_ms"] for run in runs)
    what = f"{size.clients:,} subscribers, 20 messages/s"
    result.rows += [
        goal(Row(what, "p50", p50, "ms"), size, "at most 9 ms", p50 <= 9),
        goal(Row(what, "p99", p99, "ms"), size, "at most 25 ms", p99 <= 25),
        Row(what, "server CPU a delivery", median(run["cpu_us"] for run in runs), "us"),
    ]
    result.detail = {"runs": runs}
    return result


def rooms(size: Size) -> Result:
    """CometD's own load: 1,000 clients, 100 rooms, 10 rooms each; a batch of 10 messages of 50 bytes every 10 ms."""
    result = Result("CometD's default scenario")
    runs = []
    rooms = max(10, size.clients // 10)
    for _ in range(size.runs):
        with _hub() as (hub, generator):
            words = {"count": size.clients, "channel": hub.channel("room/%d"), "of": rooms, "per": 10, "stride": 10}
            generator("open", group="s", **(hub.subscribers("bayeux-ws") | words))
            before = cpu_us(hub.pid)
            run = generator(
                "rate",
                from_="s",
                to="s",
                channel=hub.channel("room/%d"),
                size=50,
                batch=10,
                interval_us=10_000,
                seconds=size.seconds,
                each=size.clients * 10 // rooms,
            )
            run["cpu_us"] = (cpu_us(hub.pid) - before) / run["deliveries"]
            run["core"] = run["cpu_us"] * run["deliveries"] / 1e6 / run["seconds"]
            runs.append(run)
    p99 = median(run["p99_ms"] for run in runs)
    complete = all(run["deliveries"] == run["expected"] and not run["lost_sessions"] for run in runs)
    what = f"{size.clients:,} clients, {rooms} rooms, 10 rooms a client, 10 x 50 bytes every 10 ms"
    result.rows += [
        Row(what, "deliveries/s", median(run["deliveries"] / run["seconds"] for run in runs), "" if complete else ", NOT sustained"),
        Row(what, "share of a core", 100 * median(run["core"] for run in runs), "%"),
        Row(what, "server CPU a delivery", median(run["cpu_us"] for run in runs), "us"),
        goal(Row(what, "p99", p99, "ms"), size, "sustained, below 50 ms", complete and p99 < 50),
    ]
    result.detail = {"runs": runs}
    return result


def polling(size: Size) -> Result:
    """Long-polling: everybody's connect is held, answered, and made anew."""
    result = Result("long-polling")
    with _hub() as (hub, generator), _opened(hub, generator, "bayeux-polling", size.clients) as run:
        messages = max(3, size.deliveries // size.clients // 5)
        run(2, 1)
        runs = [run(messages, 1) for _ in range(size.runs)]
    what = f"{size.clients:,} clients, one message at a time"
    rate = median(each["rate"] for each in runs)
    result.rows += [
        goal(Row(what, "deliveries/s", rate, ""), size, "at least 6,000", rate >= 6_000),
        Row(what, "server CPU a delivery", median(each["cpu_us"] for each in runs), "us"),
    ]
    result.detail = {"runs": runs}
    return result


def storm(size: Size) -> Result:
    """Many clients come at once: connect, handshake, subscribe, first connect."""
    result = Result("connect storm")
    costs, rates = [], []
    for _ in range(size.runs):
        with _hub() as (hub, generator):
            generator("open", group="w", count=max(1, size.clients // 10), channel=hub.channel("0"), **hub.subscribers("bayeux-ws"))
            before = cpu_us(hub.pid)
            opened = generator("open", group="s", count=size.clients, channel=hub.channel("0"), **hub.subscribers("bayeux-ws"))
            costs.append((cpu_us(hub.pid) - before) / 1000 / size.clients)
            rates.append(size.clients / opened["seconds"])
    cost = median(costs)
    what = f"{size.clients:,} sessions over WebSocket"
    result.rows += [
        goal(Row(what, "server CPU a session", cost, "ms"), size, "at most 1.1 ms", cost <= 1.1),
        Row(what, "sessions/s", median(rates), ""),
    ]
    return result


def memory(size: Size) -> Result:
    """What an idle session costs, connected and subscribed."""
    result = Result("memory")
    with _hub() as (hub, generator):
        generator("open", group="w", count=max(1, size.many // 100), channel=hub.channel("0"), **hub.subscribers("bayeux-ws"))
        generator("idle", seconds=0.5)
        before = resident_kib(hub.pid)
        generator("open", group="s", count=size.many, channel=hub.channel("0"), **hub.subscribers("bayeux-ws"))
        generator("idle", seconds=min(size.seconds, 3.0))
        each = (resident_kib(hub.pid) - before) / size.many
        cpu, began = cpu_us(hub.pid), time.monotonic()
        generator("idle", seconds=size.seconds)
        share = (cpu_us(hub.pid) - cpu) / 1e4 / (time.monotonic() - began)
    what = f"{size.many:,} idle sessions, connected and subscribed"
    result.rows += [
        goal(Row(what, "resident memory a session", each, "KiB"), size, "at most 24 KiB", each <= 24),
        Row(what, "share of a core", share, "%"),
    ]
    return result


def beside(size: Size) -> Result:
    """A channel of few, while one of very many is served without a pause."""
    result = Result("another channel")
    with _hub() as (hub, generator):
        generator("open", group="many", count=size.many, channel=hub.channel("many"), **hub.subscribers("bayeux-ws"))
        generator("open", group="few", count=10, channel=hub.channel("few"), **hub.subscribers("bayeux-ws"))
        generator("open", group="p", count=1, **hub.publishers())
        generator("open", group="q", count=1, **hub.publishers())
        before = cpu_us(hub.pid)
        generator("flood", from_="p", to="many", channel=hub.channel("many"), size=200, window=1, each=size.many)
        run = generator(
            "rate", from_="q", to="few", channel=hub.channel("few"), size=200, batch=1, interval_us=20_000, seconds=size.seconds, each=10
        )
        flood = generator("stop")
        cost = (cpu_us(hub.pid) - before) / (run["deliveries"] + flood["deliveries"])
    what = f"10 subscribers, while {size.many:,} others are served"
    result.rows += [
        goal(Row(what, "p99", run["p99_ms"], "ms"), size, "at most 20 ms", run["p99_ms"] <= 20),
        Row(what, "p50", run["p50_ms"], "ms"),
        Row("the others meanwhile", "deliveries/s", flood["deliveries"] / run["seconds"], ""),
        Row("all of them", "server CPU a delivery", cost, "us"),
    ]
    result.detail = {"run": run, "flood": flood}
    return result


def routing(size: Size) -> Result:
    """Very many subscriptions: what a publish costs, whatever it delivers. One message at a time, each on any of the channels."""
    result = Result("routing")
    sessions, per, several = size.clients, 100, 5
    channels = sessions * per // several
    messages = max(20, size.deliveries // 50)
    with _hub() as (hub, generator):
        words = {"count": sessions, "channel": hub.channel("c/%d"), "of": channels, "per": per, "stride": per}
        generator("open", group="s", **(hub.subscribers("bayeux-ws") | words))
        generator("open", group="p", count=1, **(hub.publishers() | {"of": channels}))
        generator("open", group="x", count=1, channel=hub.channel("x"), **hub.subscribers("bayeux-ws"))
        generator("open", group="q", count=1, **(hub.publishers() | {"of": 1}))

        def cost(publisher: str, subscribers: str, channel: str, each: int) -> float:
            before = cpu_us(hub.pid)
            generator(
                "rounds", from_=publisher, to=subscribers, channel=hub.channel(channel), size=200, messages=messages, window=1, each=each
            )
            return (cpu_us(hub.pid) - before) / messages

        cost("p", "s", "c/%d", several)
        runs = [(cost("q", "x", "x", 1), cost("p", "s", "c/%d", several)) for _ in range(size.runs)]
    alone, many = median(one for one, _ in runs), median(five for _, five in runs)
    delivery = (many - alone) / (several - 1)
    publish = alone - delivery
    what = f"{sessions * per:,} subscriptions over {channels:,} channels"
    result.rows += [
        goal(Row(what, "server CPU a publish, deliveries apart", publish, "us"), size, "at most 90 us", publish <= 90),
        Row(what, "server CPU of each delivery", delivery, "us"),
    ]
    result.detail = {"runs": runs}
    return result


def slow(size: Size) -> Result:
    """Clients that read nothing: what they cost the others, and the hub's memory."""
    result = Result("slow consumers")
    stuck = max(1, size.clients // 10)
    with _hub() as (hub, generator), _opened(hub, generator, "bayeux-ws", size.clients) as run:
        messages = max(5, size.deliveries // size.clients)
        run(3, 1)
        alone = [run(messages, 1) for _ in range(size.runs)]
        generator("open", group="stuck", count=stuck, channel=hub.channel("0"), **hub.subscribers("bayeux-ws"))
        generator("mute", group="stuck", on=1)
        before = resident_kib(hub.pid)
        beside = [run(messages, 1) for _ in range(size.runs)]
        grown = (resident_kib(hub.pid) - before) / stuck
    what = f"{size.clients:,} subscribers beside {stuck:,} that read nothing"
    result.rows += [
        Row(what, "deliveries/s, against without them", _median_of(beside, "rate") / _median_of(alone, "rate"), ""),
        Row(what, "server CPU a delivery", _median_of(beside, "cpu_us"), "us"),
        Row(what, "resident memory for each that reads nothing", grown, "KiB"),
    ]
    return result


def _median_of(runs: list[Answer], key: str) -> float:
    return median(each[key] for each in runs)


def limit_beside(size: Size) -> Row:
    """What the kernel's own part of a delivery costs at this moment, for scenarios that are not measured beside it all the time."""
    limit, generator = Limit(), Generator()
    try:
        with _opened(limit, generator, "limit", size.clients) as run:
            messages = max(5, size.deliveries // size.clients)
            run(messages // 4 + 1, 1)
            cost = median(run(messages // 2 + 1, 1)["cpu_us"] for _ in range(3))
    finally:
        generator.close()
        limit.close()
    return Row(f"the kernel's limit in the same run, {size.clients:,} subscribers", "server CPU a delivery", cost, "us", cost)


def _timed(run: Callable[..., Answer], messages: int, window: int, size: Size) -> list[Answer]:
    """Runs of ``messages`` each with ``window`` in flight, fewer where the server is so slow that they would take longer than 5 s."""
    trial = run(max(messages // 10, window), window)
    within = int(5 * trial["rate"] / size.clients)
    return [run(max(window, 5, min(messages * (1 if window == 1 else 5), within)), window) for _ in range(size.runs)]


def peers(size: Size) -> Result:
    """Other servers on the same channel, by the same generator; one that cannot be installed here is left out, with the reason."""
    result = Result("peers")
    starts: dict[str, Callable[[], Server]] = {"C limit": Limit, "hub": Hub}
    starts |= {name: partial(start, None) for name, start in STARTS.items()}
    messages = max(5, size.deliveries // size.clients)
    for name, start in starts.items():
        try:
            server = start()
        except ToolchainError as error:
            result.detail[name] = f"left out: {error}"
            result.rows.append(Row(name, "left out", 0.0, str(error).splitlines()[0][:80]))
            continue
        generator = Generator()
        try:
            before = cpu_us(server.pid)
            with _opened(server, generator, "bayeux-ws", size.clients) as run:
                session = (cpu_us(server.pid) - before) / 1000 / size.clients
                run(messages // 4 + 1, 1)  # what compiles while it runs has done so
                one, many = (_timed(run, messages, window, size) for window in (1, 20))
        finally:
            generator.close()
            server.close()
        what = f"{name}, {size.clients:,} subscribers"
        result.rows += [
            Row(what, "deliveries/s, one message at a time", median(each["rate"] for each in one), ""),
            Row(what, "server CPU a delivery", median(each["cpu_us"] for each in one), "us"),
            Row(what, "deliveries/s, 20 in flight", median(each["rate"] for each in many), ""),
            Row(what, "p99, 20 in flight", median(each["p99_ms"] for each in many), "ms"),
            Row(what, "server CPU a session", session, "ms"),
        ]
        result.detail[name] = one + many
    return result


WITH_LIMIT = frozenset({"fan-out", "growth", "peers"})
"""Scenarios that measure the kernel's limit all along."""

SCENARIOS: dict[str, Callable[[Size], Result]] = {
    "fan-out": fan_out,
    "latency": latency,
    "rooms": rooms,
    "polling": polling,
    "storm": storm,
    "memory": memory,
    "growth": growth,
    "beside": beside,
    "routing": routing,
    "slow": slow,
    "personal": personal,
    "auth": auth,
    "files": files,
    "workers": workers,
    "comeback": comeback,
    "relayed": relayed,
    "crossing": crossing,
    "floods": floods,
    "media-keys": media_keys,
    "transfers": transfers,
    "peers": peers,
}
