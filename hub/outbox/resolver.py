"""Looks up the host names of endpoints in threads of its own, which are divided among tenants.

A look-up by the operating system lasts until a name server answers, and cannot be cancelled. In the threads that the rest of the process
uses, a tenant whose host names no server answers for would delay the webhooks, files and mail of all other tenants.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult

from hub.outbox.addresses import parse_socket_address
from hub.outbox.guard import ForbiddenAddressError, Guard
from hub.outbox.shares import Line, Pool

TENANT: Final[ContextVar[str]] = ContextVar("hub.outbox.tenant", default="")
"""The tenant for whose request a name is looked up."""


class Resolver(AbstractResolver):
    """Make it in the event loop. At most ``threads`` look-ups are under way; one tenant may use the part ``tenant_share`` of the threads
    while others wait.
    """

    def __init__(self, threads: int, tenant_share: float) -> None:
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="webhook-names")
        self._pool = Pool(threads, tenant_share)
        self._line = Line(self._pool)
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._numbers = 0

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """The addresses of a name.

        Raises:
            OSError: the name has no address, or no server answered.
        """
        tenant = TENANT.get()
        await self._turn(tenant)
        loop = asyncio.get_running_loop()
        # a look-up cannot be cancelled: its thread is free when it has ended, also if the caller was cancelled
        found = loop.run_in_executor(self._threads, _look_up, host, port, family)
        found.add_done_callback(lambda ended: self._ended(tenant, ended))
        return await asyncio.shield(found)

    async def close(self) -> None:
        """Begin no more look-ups, and do not wait for those under way."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _turn(self, tenant: str) -> None:
        """Wait for a thread, and take it."""
        self._numbers += 1
        member = str(self._numbers)
        turn = self._waiting[member] = asyncio.get_running_loop().create_future()
        self._line.join(tenant, member)
        self._serve()
        try:
            await turn
        except asyncio.CancelledError:
            if self._waiting.pop(member, None) is None:  # it was given a thread just before
                self._ended(tenant)
            raise

    def _serve(self) -> None:
        while (following := self._line.next()) is not None:
            tenant, member = following
            turn = self._waiting.pop(member, None)
            if turn is None:
                continue  # its caller was cancelled
            self._pool.of(tenant).add(1)
            turn.set_result(None)

    def _ended(self, tenant: str, found: asyncio.Future[list[ResolveResult]] | None = None) -> None:
        if found is not None and not found.cancelled():
            found.exception()  # mark the exception as seen: the caller got it, or was cancelled
        self._pool.of(tenant).add(-1)
        self._pool.forget_unused()
        self._serve()


class GuardedResolver(AbstractResolver):
    """Returns only those addresses from another resolver to which the hub may connect."""

    def __init__(self, guard: Guard, inner: AbstractResolver) -> None:
        self._guard = guard
        self._inner = inner

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """The allowed addresses of a name.

        Raises:
            ForbiddenAddressError: the name has addresses, and the hub may connect to none of them.
            OSError: the name has no address, or no server answered.
        """
        found = await self._inner.resolve(host, port, family)
        good = [each for each in found if self._guard.allows(parse_socket_address(each["host"]))]
        if found and not good:
            raise ForbiddenAddressError(f"the address of {host}", self._guard.setting)
        return good

    async def close(self) -> None:
        """Close the other resolver."""
        await self._inner.close()


_NUMERIC: Final = int(socket.AI_NUMERICHOST | socket.AI_NUMERICSERV)
_NUMERIC_NAMES: Final = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    """Runs in a thread."""
    return [
        ResolveResult(hostname=host, host=_text(address), port=int(address[1]), family=kind, proto=protocol, flags=_NUMERIC)
        for kind, _, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG
        )
    ]


def _text(address: tuple[Any, ...]) -> str:
    """The address without the port, with its zone if it has one."""
    return socket.getnameinfo(address, _NUMERIC_NAMES)[0] if len(address) == 4 and address[3] else str(address[0])
