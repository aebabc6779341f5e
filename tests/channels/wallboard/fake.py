"""A stand-in for the hub: the family's real pages beside a `/ws` and the REST calls that the board makes, with values as a test sets them.

Run it to look at the board without a hub: ``python -m tests.channels.wallboard.fake --port 8099 --agents 40 --queues 7``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import socket
import threading
import time
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from channels.wallboard.build import build
from channels.wallboard.settings import WallboardSettings
from hub.core.channels import check_channel, to_segment
from hub.core.limits import Limits

TOKEN = "the-token"
COOKIE = "HUB_SESSION"


class _Settings:
    """The part of the settings that the wallboard reads."""

    demo = False

    def __init__(self, limits: Limits, wallboard: WallboardSettings) -> None:
        self.limits = limits
        self.wallboard = wallboard


class _Context:
    """The part of a family's context that the wallboard reads."""

    gate = None

    def __init__(self, settings: _Settings) -> None:
        self.settings = settings

    def section(self, family: str, _: type[Any]) -> Any:
        return getattr(self.settings, family)


class FakeHub:
    """A hub of one tenant on a thread of its own. `start` and `stop` may be called again and again: the port and the values stay."""

    def __init__(self, *, port: int = 0, max_subscriptions: int = 500, wallboard: WallboardSettings | None = None) -> None:
        self.port = port
        self.values: dict[str, Any] = {}
        self.objects: dict[str, list[str]] = {"Queue": [], "GroupAgents": ["All"]}
        self.cookies: set[str] = set()
        self.forbidden = False
        self.available = True
        self.refused_channels: set[str] = set()
        self.max_subscriptions = max_subscriptions
        self.sessions: dict[WebSocket, set[str]] = {}
        self.connections = 0
        self._settings = _Settings(Limits(max_subscriptions=max_subscriptions), wallboard or WallboardSettings())
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.set_service("AVAILABLE")

    # -- running

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Serve; returns when requests are taken."""
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(self._app(), ws="websockets-sansio", log_config=None, lifespan="off"))
        started = threading.Event()

        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            self._loop.call_soon(started.set)
            await server.serve(sockets=[listener])

        self._server = server
        self._thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
        self._thread.start()
        started.wait(10)

    def stop(self, code: int = 1012) -> None:
        """Close every socket with `code` and stop serving; nothing to do if it does not serve."""
        if self._loop is None:
            return
        self.close_sockets(code)
        assert self._server is not None
        assert self._thread is not None
        self._server.should_exit = True
        self._thread.join(10)
        self.sessions.clear()
        self._loop = None

    def close_sockets(self, code: int) -> None:
        async def close() -> None:
            for each in list(self.sessions):
                with contextlib.suppress(WebSocketDisconnect):  # its page has just gone by itself
                    await each.close(code)

        self._run(close())

    # -- what the contact centre does

    def set_value(
        self, object_type: str, object_id: str, name: str, *, at_ms: int | None = None, empty: bool = False, **value: Any
    ) -> None:
        """Set one value, as the statistics API writes it, and send it to who listens."""
        now = int(time.time() * 1000) if at_ms is None else at_ms
        filled = {"intValue": 0, "stringValue": "", "intervalLength": 0, "tag": -1, "timestamp": now, **value}
        data: dict[str, Any] = {"name": name, "objectId": object_id, "objectType": object_type, "value": filled, "timestamp": now}
        if empty:
            data["empty"] = True
        self._set(check_channel(f"/statistics/v3/values/{object_type}/{to_segment(object_id)}/{name}"), data)

    def set_queue(self, queue: str, **figures: float) -> None:
        """Set figures of a queue by the name of the statistic."""
        if queue not in self.objects["Queue"]:
            self.objects["Queue"].append(queue)
        for name, figure in figures.items():
            extra = {} if float(figure).is_integer() else {"floatValue": figure}
            self.set_value("Queue", queue, name, intValue=round(figure), stringValue=str(figure), **extra)

    def set_agents(self, agents: list[dict[str, Any]], group: str = "All") -> None:
        """Set the state of a group; each agent has agentId, statusName, time, and what else the test wants."""
        if group not in self.objects["GroupAgents"]:
            self.objects["GroupAgents"].append(group)
        self.set_value("GroupAgents", group, "CurrentGroupState", stateValue={"groupId": group, "agents": agents})
        status = [agent["statusName"] for agent in agents]
        calls = ("CallInbound", "CallOutbound", "CallInternal", "CallConsult", "CallUnknown", "CallOnHold")
        for name, count in (
            ("CurrentLoggedInAgents", sum(each != "LoggedOut" for each in status)),
            ("CurrentReadyAgents", status.count("WaitForNextCall")),
            ("CurrentNotReadyAgents", status.count("NotReadyForNextCall")),
            ("CurrentNumberInCall", sum(each in calls for each in status)),
        ):
            self.set_value("GroupAgents", group, name, intValue=count, stringValue=str(count))

    def set_service(self, state: str) -> None:
        self.available = state == "AVAILABLE"
        channel = "/statistics/v3/service"
        self._set(channel, {"name": "ServiceStateChange", "topic": channel, "data": {"serviceState": state}})

    def _set(self, channel: str, data: Any) -> None:
        self.values[channel] = data
        if self._loop is not None:
            self._run(self._send(channel))

    async def _send(self, channel: str) -> None:
        for each, channels in list(self.sessions.items()):
            if channel not in channels:
                continue
            with contextlib.suppress(WebSocketDisconnect):  # its page has just gone by itself
                await each.send_text(json.dumps([{"type": "event", "channel": channel, "data": self.values[channel]}]))

    def _run(self, work: Any) -> None:
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    # -- serving

    def _app(self) -> Starlette:
        return Starlette(
            routes=[
                *build(_Context(self._settings)).routes,  # type: ignore[arg-type]
                Route("/api/v1/objects/{object_type}", self._objects),
                Route("/api/v1/sign-in", self._sign_in, methods=["POST"]),
                Route("/api/v1/sign-out", self._sign_out, methods=["POST"]),
                WebSocketRoute("/ws", self._socket),
            ]
        )

    def _known(self, connection: Request | WebSocket) -> bool:
        return connection.cookies.get(COOKIE) in self.cookies

    @staticmethod
    def _envelope(code: int, message: str, status: int = 200) -> JSONResponse:
        return JSONResponse({"status": {"code": code, "message": message}}, status)

    async def _objects(self, request: Request) -> Response:
        if not self._known(request):
            return self._envelope(401, "Unauthorized", 401)
        if self.forbidden:
            return self._envelope(403, "not allowed to read statistics", 403)
        if not self.available:
            return self._envelope(503, "the statistics service is UNAVAILABLE", 503)
        return JSONResponse({"status": {"code": 0}, "data": {"objects": self.objects[request.path_params["object_type"]]}})

    async def _sign_in(self, request: Request) -> Response:
        if (await request.json()) != {"token": TOKEN}:
            return self._envelope(401, "unknown token", 401)
        cookie = f"c{len(self.cookies)}"
        self.cookies.add(cookie)
        response = self._envelope(0, "")
        response.set_cookie(COOKIE, cookie, httponly=True, samesite="lax", path="/")
        return response

    async def _sign_out(self, request: Request) -> Response:
        self.cookies.discard(request.cookies.get(COOKIE, ""))
        response = self._envelope(0, "")
        response.delete_cookie(COOKIE)
        return response

    async def _socket(self, websocket: WebSocket) -> None:
        await websocket.accept()
        self.connections += 1
        if not self._known(websocket):
            await websocket.close(4401)
            return
        await websocket.send_text(json.dumps([{"type": "welcome", "session": "s", "heartbeat": 25}]))
        self.sessions[websocket] = set()
        try:
            while True:
                for message in await self._messages(websocket):
                    for answer in self._answers(websocket, message):
                        await websocket.send_text(json.dumps([answer]))
        except (WebSocketDisconnect, RuntimeError):  # RuntimeError: closed from our side
            self.sessions.pop(websocket, None)

    @staticmethod
    async def _messages(websocket: WebSocket) -> list[Any]:
        message = json.loads(await websocket.receive_text())
        return message if isinstance(message, list) else [message]

    def _answers(self, websocket: WebSocket, message: Any) -> list[dict[str, Any]]:
        asked, channels = message.get("id"), self.sessions[websocket]
        match message["type"]:
            case "ping":
                return [{"type": "pong", "id": asked}]
            case "unsubscribe":
                channels.difference_update(message["channels"])
                return [{"type": "unsubscribed", "id": asked, "channels": message["channels"]}]
            case "subscribe":
                for channel in message["channels"]:
                    if channel in self.refused_channels:
                        return [{"type": "error", "id": asked, "code": 403, "message": "no", "channel": channel}]
                if len(channels | set(message["channels"])) > self.max_subscriptions:
                    return [{"type": "error", "id": asked, "code": 429, "message": "too many subscriptions"}]
                channels.update(message["channels"])
                events = [
                    {"type": "event", "channel": channel, "data": self.values[channel]}
                    for channel in message["channels"]
                    if channel in self.values
                ]
                return [{"type": "subscribed", "id": asked, "channels": [{"channel": each} for each in message["channels"]]}, *events]
        return [{"type": "error", "id": asked, "code": 400, "message": "unknown type"}]


FIRST = (
    "Anna", "Benoît", "Chidi", "Dana", "Emil", "Farah", "Goran", "Hana", "Ivo", "Jorge", "Katrin", "Leila", "Mateo", "Nadia",
    "Omar", "Paula", "Quentin", "Rosa", "Samir", "Tove",
)  # fmt: skip
LAST = (
    "Adler", "Brandt", "Costa", "Duval", "Eriksen", "Fontaine", "Garcia", "Haas", "Ito", "Jensen", "Keller", "Lindholm",
    "Moreau", "Novak", "Okafor", "Petrov", "Ricci", "Silva",
)  # fmt: skip
QUEUES = (
    "Sales", "Support", "Billing", "Returns", "Premium", "Deliveries", "Complaints", "Français", "Español", "Technical", "Retention",
)  # fmt: skip
STATES = (
    ("WaitForNextCall", 9), ("CallRinging", 2), ("CallInbound", 20), ("CallOutbound", 3), ("CallConsult", 1), ("CallOnHold", 3),
    ("AfterCallWork", 6), ("NotReadyForNextCall", 6), ("LoggedOut", 4),
)  # fmt: skip


class Lively:
    """A contact centre that looks busy: for looking at the board, not a model of anything."""

    def __init__(self, hub: FakeHub, agents: int, queues: int, seed: int = 7) -> None:
        self.hub = hub
        self.random = random.Random(seed)
        names = [f"{FIRST[i % len(FIRST)]} {LAST[(i * 7 + i // len(FIRST)) % len(LAST)]}" for i in range(agents)]
        self.agents = [
            self._state({"agentId": name if names.index(name) == i else f"{name} {i}"}, past=True) for i, name in enumerate(names)
        ]
        self.queues: dict[str, dict[str, Any]] = {}
        for i in range(queues):
            entered = self.random.randrange(80, 900)
            self.queues[QUEUES[i] if i < len(QUEUES) else f"Queue {i + 1}"] = {
                "entered": entered,
                "abandoned": int(entered * self.random.uniform(0.01, 0.08)),
                "level": self.random.uniform(55, 97),
                "average": self.random.randrange(8, 70),
                "waits": [time.time() - self.random.expovariate(1 / 50) for _ in range(self.random.choice((0, 0, 1, 2, 4, 7)))],
            }
        self.send()

    def _state(self, agent: dict[str, Any], *, past: bool = False) -> dict[str, Any]:
        names, weights = zip(*STATES, strict=True)
        status = self.random.choices(names, weights)[0]
        ago = self.random.expovariate(1 / 240) if past else 0
        place: dict[str, Any] = {"placeId": "P1"}
        if status == "NotReadyForNextCall":
            reason = self.random.choice(("Lunch", "Training", "Break", ""))
            place["dnStatuses"] = [{"actions": [{"action": status, "reasons": {"reason": reason} if reason else {}}]}]
        return {"agentId": agent["agentId"], "statusName": status, "status": 0, "time": int(time.time() - ago), "place": place}

    def step(self) -> None:
        for _ in range(-(-len(self.agents) // 40)):
            index = self.random.randrange(len(self.agents))
            self.agents[index] = self._state(self.agents[index])
        for queue in self.queues.values():
            if self.random.random() < 0.3:
                queue["waits"].append(time.time())
                queue["entered"] += 1
            if queue["waits"] and self.random.random() < 0.3:
                queue["waits"].pop(0)
        self.send()

    def send(self) -> None:
        now = time.time()
        self.hub.set_agents(self.agents)
        for name, queue in self.queues.items():
            self.hub.set_queue(
                name,
                CurrentInQueue=len(queue["waits"]),
                CurrMaxCallWaitingTime=int(max((now - each for each in queue["waits"]), default=0)),
                CallsEntered=queue["entered"],
                TotalAbandoned=queue["abandoned"],
                TotalAnswered=queue["entered"] - queue["abandoned"] - len(queue["waits"]),
                ServiceLevel=round(queue["level"], 2),
                AverageWaitingTime=queue["average"],
            )


def main() -> None:
    """Serve a lively contact centre until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8099)
    parser.add_argument("--agents", type=int, default=40)
    parser.add_argument("--queues", type=int, default=7)
    chosen = parser.parse_args()
    hub = FakeHub(port=chosen.port)
    lively = Lively(hub, chosen.agents, chosen.queues)
    hub.start()
    print(f"{hub.url} (sign in with {TOKEN})", flush=True)
    while True:
        time.sleep(1)
        lively.step()


if __name__ == "__main__":
    main()
