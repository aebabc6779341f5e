"""Checks of every REST operation before its body is read: the caller, the size of the body, and the number of its members."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final
from urllib.parse import unquote_plus

from fastapi import APIRouter, FastAPI, params
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Router, compile_path
from starlette.types import Message, Receive, Scope, Send

from hub.core.json_validation import BadJsonError, check_nul, guard
from hub.core.limits import Limits
from hub.http.body import bounded, check_announced, check_members, limit_of, read_body
from hub.http.errors import ApiError
from hub.http.openapi import operation_id
from hub.http.permits import Permission, permit_before_body
from hub.http.responses import EnvelopeResponse

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

_NO_BODY: Final = frozenset({"GET", "HEAD"})


class HubRoute(APIRoute):
    """An operation of the REST API. FastAPI reads and parses a body before it runs the dependencies. This class checks the caller first,
    then reads the body up to the operation's limit, and limits its members, so that validation does not block the event loop for long.

    FastAPI analyses the signature of an operation, and makes validators of it, as soon as the route exists: a third of the start of a hub,
    for some hundred operations of which most hubs are asked for few. Here that is done when the operation is first called, in a thread, or
    when something is asked for that only the analysis gives, as ``/openapi.json`` does. What is wrong with a route shows no sooner, but an
    operation that no family has (:func:`operations_asked`): ``tests/test_who_may.py`` asks for every route.

    If a family has its own route class, that class derives from this one. It looks up exceptions in ``app.state.errors``, and may answer in
    its own form.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **arguments: Any) -> None:
        """As FastAPI's own: see :class:`fastapi.routing.APIRoute`."""
        self.path = path
        self.endpoint = endpoint
        self.methods = {method.upper() for method in arguments.get("methods") or ("GET",)}
        self.openapi_extra = arguments.get("openapi_extra")
        self._arguments = arguments
        self._analysing = asyncio.Lock()

    @property
    def analysed(self) -> bool:
        """Whether FastAPI knows already what the operation takes."""
        return "_arguments" not in vars(self)

    def _analyse(self) -> None:
        # two threads may be at it, one of them for /openapi.json: both do the same, and what one has found stays while the other looks
        if (arguments := vars(self).get("_arguments")) is not None:
            super().__init__(self.path, self.endpoint, **arguments)
            vars(self).pop("_arguments", None)

    def __getattr__(self, name: str) -> Any:
        if self.analysed or name.startswith("__"):
            raise AttributeError(f"{type(self).__name__} has no attribute {name}")
        self._analyse()
        return getattr(self, name)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self.analysed:
            async with self._analysing:  # of the calls that come meanwhile, none has it done again
                if not self.analysed:
                    await asyncio.to_thread(self._analyse)
        await super().handle(scope, receive, send)

    @cached_property
    def _lead(self) -> str:
        """How every path of this operation begins."""
        return self.path.partition("{")[0]

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        # the router asks each operation in turn: by the framework's regular expression that is half a millisecond for a hundred of them
        if not scope["path"].startswith(self._lead) and not scope.get("root_path"):
            return Match.NONE, {}
        if "path_regex" not in vars(self):
            self.path_regex, self.path_format, self.param_convertors = compile_path(self.path)
        return super().matches(scope)

    @property
    def openapi_extra(self) -> dict[str, Any] | None:
        """What the document has in addition for this operation. A value may be a function that returns it, called when the document is
        made: the schemas of bodies take longer to make than the route itself.
        """
        given: dict[str, Any] | None = self.__dict__.get("openapi_extra")
        return None if given is None else {key: value() if callable(value) else value for key, value in given.items()}

    @openapi_extra.setter
    def openapi_extra(self, given: dict[str, Any] | None) -> None:
        self.__dict__["openapi_extra"] = given

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()
        dependencies = list(_callables(self.dependant))
        optional = frozenset(
            field.alias.encode()
            for each in _dependants(self.dependant)
            for field in each.query_params
            if not field.field_info.is_required()
        )
        parsed = self.body_field is not None
        endpoint = self.endpoint

        async def answer(request: Request) -> Response:
            limits: Limits = request.app.state.limits
            await permit_before_body(request, dependencies)
            _check_query(request, limits, optional)
            if request.method in _NO_BODY:
                return await handle(request)
            limit = limit_of(endpoint, limits)
            check_announced(request, limit)
            receive = bounded(request.receive, limit)
            if parsed:
                body = _checked(request, await read_body(Request(request.scope, receive), limit), limits)
                receive = replayed(body, receive)
            return await handle(Request(request.scope, receive))

        return answer


class WithoutSlash:
    """Serve a path that does not exist as the same path without its trailing slash, if that exists.

    A redirect would lose the body with some clients, and the credential with others.
    """

    __slots__ = ("_nothing", "_router")

    def __init__(self, router: Router) -> None:
        self._router = router
        self._nothing = router.default

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].endswith("/"):
            path = scope["path"].removesuffix("/")
            bare = {**scope, "path": path}
            if path and any(route.matches(bare)[0] is not Match.NONE for route in self._router.routes):
                scope["path"] = path
                await self._router.app(scope, receive, send)
                return
        await self._nothing(scope, receive, send)


class HubRouter(APIRouter):
    """A group of operations of the REST API. The hub takes its routes as they are.

    FastAPI makes every route of a plain ``APIRouter`` a second time when it is included, with the defaults of the application: a third of
    the start of a hub. Here the routes have these defaults from the beginning.
    """

    def __init__(
        self,
        *,
        prefix: str = "",
        tags: Sequence[str],
        responses: Mapping[int | str, dict[str, Any]] | None = None,
        route_class: type[HubRoute] = HubRoute,
    ) -> None:
        """``prefix``: the path before the path of each operation. ``responses``: described in the document for each operation."""
        super().__init__(
            prefix=prefix,
            tags=list(tags),
            responses=dict(responses) if responses is not None else None,
            route_class=route_class,
            default_response_class=EnvelopeResponse,
            generate_unique_id_function=operation_id,
        )


def include(app: FastAPI, router: APIRouter) -> None:
    """Add the operations of a router to an application; each becomes a :class:`HubRoute`.

    Raises:
        TypeError: an operation has a route class that does not derive from it: its body would be read before the caller is checked.
    """
    for route in router.routes:
        if type(route) is APIRoute:
            route.__class__ = HubRoute
        elif isinstance(route, APIRoute) and not isinstance(route, HubRoute):
            raise TypeError(f"{route.path}: expected a route class that derives from HubRoute, got {type(route).__name__}")
    if isinstance(router, HubRouter):
        app.router.routes.extend(router.routes)
    else:
        app.include_router(router)


def operations_asked(routers: Iterable[APIRouter]) -> set[str]:
    """The operations that the routes of these routers require. Only signatures are read for it, in a tenth of a millisecond each: no
    operation is analysed (:class:`HubRoute`).

    Raises:
        NameError: an annotation names nothing that its module has.
    """
    found: set[str] = set()
    waiting: list[BaseRoute] = [route for router in routers for route in router.routes]
    while waiting:
        route = waiting.pop()
        inner = vars(route).get("original_router")  # FastAPI keeps an included router as one route
        if isinstance(inner, APIRouter):
            waiting += inner.routes
        elif isinstance(route, APIRoute):
            arguments = vars(route).get("_arguments")
            found |= _required((arguments or vars(route)).get("dependencies") or ()) | _required(_dependencies(route.endpoint))
    return found


def _required(dependencies: Iterable[object]) -> set[str]:
    """The operations that dependencies require, and those that they depend on."""
    found: set[str] = set()
    for each in dependencies:
        if isinstance(each, params.Depends) and each.dependency is not None:
            found |= {each.dependency.operation} if isinstance(each.dependency, Permission) else _required(_dependencies(each.dependency))
    return found


def _dependencies(call: Callable[..., Any]) -> Iterator[object]:
    """What stands where a parameter of a call has its dependency: its default, and in ``Annotated`` beside its type."""
    for each in inspect.signature(call, eval_str=True).parameters.values():
        yield each.default
        yield from getattr(each.annotation, "__metadata__", ())


def _dependants(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for each in dependant.dependencies:
        yield from _dependants(each)


def _callables(dependant: Dependant) -> Iterator[Any]:
    """The callables on which a route depends, each after those on which it depends itself."""
    for each in dependant.dependencies:
        yield from _callables(each)
        yield each.call


def _check_query(request: Request, limits: Limits, optional: frozenset[bytes]) -> None:
    """Limit the query, and remove optional parameters without a value: forms and clients send parameters that are not filled in.

    Raises:
        ApiError: 400, the query has more than ``limits.max_query_parameters`` parameters.
    """
    query: bytes = request.scope["query_string"]
    if not query:  # nearly always
        return
    max_parameters = limits.max_query_parameters
    if query.count(b"&") >= max_parameters:
        raise ApiError.of_field("query", f"at most {max_parameters} parameters", query.count(b"&") + 1)
    if b"=&" not in query and not query.endswith(b"="):
        return
    kept = [pair for pair in query.split(b"&") if not (pair.endswith(b"=") and _name(pair) in optional)]
    request.scope["query_string"] = b"&".join(kept)


def _name(pair: bytes) -> bytes:
    return unquote_plus(pair[:-1].decode("latin-1")).encode()


def _checked(request: Request, body: bytes, limits: Limits) -> bytes:
    """Check a body that FastAPI parses as JSON, if its type is JSON: it must be strict JSON, with a limited number of members.

    Raises:
        ApiError: 400, it is not JSON; 413, it has more members and elements than ``limits.max_body_members``.
    """
    if not body or "json" not in request.headers.get("content-type", "").lower():
        return body
    try:
        text = guard(body, limits.max_json_depth)
        check_nul(text)
    except BadJsonError as error:
        raise ApiError(400, f"body: {error}", detail={"field": "body", "expected": "JSON text", "got": str(error)}) from None
    check_members(text, limits.max_body_members)
    return text


def replayed(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that returns the body that was read, then the messages after it."""
    read = False

    async def replay() -> Message:
        nonlocal read
        if read:
            return await receive()
        read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
