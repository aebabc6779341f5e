"""Logins: how long one lasts, and how they are told apart."""

from __future__ import annotations

from hub.core.principal import login_key
from tests.hub.core.harness import World, principal


def test_login_is_gone_after_its_last_session() -> None:
    world = World()
    gone: list[tuple[str, str]] = []
    world.hub.logins.on_gone.append(lambda tenant, audience: gone.append((tenant, audience)))
    with_cookie, without = principal("ann", cookie="c"), principal("ann")
    for who in (with_cookie, without):
        world.hub.logins.arrived(who)
    world.hub.logins.left(with_cookie)
    assert gone == [("t", "login-c")]
    assert world.hub.logins.has("t", "token-ann")
    world.hub.logins.left(without)
    assert gone == [("t", "login-c"), ("t", "token-ann")]
    assert not world.hub.logins.has("t", "token-ann")


def test_login_key_tells_its_parts_apart() -> None:
    keys = {login_key("t", "a", "b"), login_key("t", "ab", ""), login_key("ta", "", "b"), login_key("t", "a", "c")}
    assert len(keys) == 4


def test_same_caller() -> None:
    assert principal("ann").same_caller(principal("ann", cookie="c"))
    assert not principal("ann").same_caller(principal("ann", tenant="u"))
    assert not principal("ann").same_caller(principal("eve"))
