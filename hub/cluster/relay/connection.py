"""The connection of a client whose request another node has relayed."""

from __future__ import annotations

from hub.cluster.relay.wire import Admitted


class RelayedConnection:
    """Stands for a connection that another node holds and counts: a :class:`hub.security.connections.ClientConnection`. That node is told
    what the client has shown.
    """

    __slots__ = ("_untold", "identified", "let_in", "tenant")

    def __init__(self, tenant: str, *, let_in: bool) -> None:
        """``tenant`` and ``let_in``: what the other node knows already."""
        self.tenant = tenant
        self.identified = bool(tenant)
        self.let_in = let_in
        self._untold: Admitted | None = None

    @property
    def limited_address(self) -> None:
        """None: limits by address are those of the node that holds the connection."""
        return None

    def identify(self, tenant: str) -> bool:
        """The client has shown a credential of ``tenant``. True: whether the tenant has room is for the other node to say."""
        if not self.identified or tenant != self.tenant:
            self.identified, self.tenant = True, tenant
            self._untold = Admitted(False, tenant)
        return True

    def admit(self, *, anonymous: bool, tenant: str = "") -> None:
        """The client was admitted, with a credential of ``tenant`` or without one."""
        if not anonymous:
            self.identify(tenant)
        elif not self.let_in:
            self.let_in = True
            self._untold = self._untold or Admitted(True, tenant)

    @property
    def has_news(self) -> bool:
        """Whether the other node has still to be told something."""
        return self._untold is not None

    def untold(self) -> Admitted | None:
        """What the other node has still to be told; from now on it counts as told."""
        untold, self._untold = self._untold, None
        return untold
