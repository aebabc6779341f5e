"""Declarations of channels: the most exact one holds, and what a setting keeps stays what its family declared."""

import pytest

from hub.core.delivery import ChannelDeclaration, ChannelRegistry, DeliveryClass

READ = "/messaging/read"


def registry(*declarations: ChannelDeclaration) -> ChannelRegistry:
    return ChannelRegistry(declarations)


@pytest.mark.parametrize("kept", ["/files/**", "/files/a", "/files/*", "/files/a/b", "/files/a/**"])
def test_what_a_setting_keeps_needs_the_operation_of_its_family(kept: str) -> None:
    made = registry(ChannelDeclaration("/files/**", DeliveryClass.EVENT, "files", operation=READ, personal=True))
    made.keep(kept, "kept")
    for channel in (kept.replace("*", "x"), "/files/other"):
        found = made.of(channel)
        assert (found.operation, found.personal) == (READ, True)
    assert made.of(kept.replace("*", "x")).delivery is DeliveryClass.LOG
    assert {each.operation for each in made.overlapping("/**")} == {READ}


def test_the_most_exact_of_several_declarations_is_the_one_that_holds_on() -> None:
    for order in (1, -1):
        outer = ChannelDeclaration("/a/**", DeliveryClass.EVENT, "outer", operation="/outer")
        inner = ChannelDeclaration("/a/b/**", DeliveryClass.EVENT, "inner", operation="/inner")
        made = registry(*(outer, inner)[::order])
        made.keep("/a/b/c", "kept")
        made.keep("/a/c", "kept")
        assert (made.of("/a/b/c").operation, made.of("/a/c").operation) == ("/inner", "/outer")


def test_what_is_declared_within_the_kept_pattern_stays_as_it_is() -> None:
    inner = ChannelDeclaration("/a/b", DeliveryClass.EVENT, "inner", operation=READ)
    made = registry(inner)
    made.keep("/**", "kept")
    made.keep("/a/*", "kept")
    assert made.of("/a/b") is inner
    assert (made.of("/a/c").delivery, made.of("/a/c").operation) == (DeliveryClass.LOG, "")
    assert (made.of("/z").delivery, made.of("/z").operation) == (DeliveryClass.LOG, "")


def test_what_was_looked_up_before_is_kept_too() -> None:
    made = registry()
    assert made.of("/a").delivery is DeliveryClass.EVENT
    made.keep("/a", "kept")
    assert made.of("/a").delivery is DeliveryClass.LOG


def test_state_cannot_be_kept() -> None:
    made = registry(ChannelDeclaration("/values/**", DeliveryClass.STATE, "values", snapshot=_nothing))
    with pytest.raises(ValueError, match=r"/values/x lies within /values/\*\*, which is a state channel"):
        made.keep("/values/x", "kept")
    assert made.of("/values/x").delivery is DeliveryClass.STATE


async def _nothing(*_: object) -> list[tuple[str, bytes]]:
    return []


def test_most_exact_declaration_counts() -> None:
    deep, wide = ChannelDeclaration("/a/b", DeliveryClass.LOG, "deep"), ChannelDeclaration("/a/**", DeliveryClass.EVENT, "wide")
    registry = ChannelRegistry([wide])
    assert registry.of("/a/b") is wide
    registry.declare(deep)
    assert (registry.of("/a/b"), registry.of("/a/c"), registry.of("/x").delivery) == (deep, wide, DeliveryClass.EVENT)
    assert registry.overlapping("/a/*") == [wide, deep]
    assert registry.overlapping("/a/b") == [deep]
    assert list(registry) == [wide, deep]


def test_declared_twice() -> None:
    registry = ChannelRegistry([ChannelDeclaration("/a", DeliveryClass.LOG, "x")])
    with pytest.raises(ValueError, match="/a"):
        registry.declare(ChannelDeclaration("/a", DeliveryClass.EVENT, "y"))


def test_state_needs_a_snapshot() -> None:
    with pytest.raises(ValueError, match="snapshot"):
        ChannelDeclaration("/a", DeliveryClass.STATE, "x")


def test_names_of_clients_do_not_fill_the_memory() -> None:
    registry = ChannelRegistry()
    for number in range(65_537):
        registry.of(f"/{number}")
    assert len(registry._by_channel) <= 65_536
