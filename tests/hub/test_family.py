"""Families as a whole: which a process builds, what they may be asked for, which tables they have."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from channels.families import FAMILIES
from channels.files.publisher import FilePublisher
from channels.interactions.publisher import InteractionPublisher
from channels.media_storage.publisher import MediaPublisher
from hub.families import EVENT_LOG, NODES, OWN, migrations_of, webhook_types, whole
from hub.family import EVERYWHERE, Context, Family, Parts, ProcessRole, of_process, process_roles
from hub.storage.migrations import HUB
from tests.world import ManualClock


def names(families: tuple[Family, ...]) -> list[str]:
    return [family.name for family in families]


def nothing(_: Context) -> Parts:
    return Parts()


def test_a_process_builds_what_its_role_needs() -> None:
    edge, owner = (frozenset({role}) for role in (ProcessRole.EDGE, ProcessRole.STAT_SERVER))
    families = [
        Family("one", nothing, runs_in=edge),
        Family("two", nothing),
        Family("three", nothing, runs_in=owner),
        Family("four", nothing, runs_in=edge),
    ]
    assert names(of_process(families, "all")) == ["one", "two", "three", "four"]
    assert names(of_process(families, "edge")) == ["one", "two", "four"]
    assert names(of_process(families, "stat-server")) == ["two", "three"]
    with pytest.raises(ValueError, match="nothing"):
        of_process(families, "nothing")


def test_the_words_of_the_setting_are_the_roles() -> None:
    assert process_roles("all") == EVERYWHERE == {ProcessRole.EDGE, ProcessRole.STAT_SERVER}
    assert process_roles("edge") | process_roles("stat-server") == EVERYWHERE


def test_where_the_families_of_the_product_run() -> None:
    families = whole(FAMILIES)
    both = ["audit", "security", "outbox", "objects", "statistics", "interactions", "ingest"]
    edge = {*both, "administration", "presence", "publishing", "secure_email", "messaging", "files", "media_storage", "auth", "wallboard"}
    assert set(names(of_process(families, "edge"))) == edge
    assert set(names(of_process(families, "stat-server"))) == {*both, "simulator"}
    assert set(names(families)) == edge | {"simulator"}


def test_families_have_names_of_their_own() -> None:
    assert len(set(names(whole(FAMILIES)))) == len(whole(FAMILIES))


def test_the_tables_of_every_family_are_made_in_every_process() -> None:
    of_nodes = (EVENT_LOG, NODES)
    assert migrations_of(()) == (*HUB, *of_nodes)
    added = Family("more", nothing, migrations="more.migrations", runs_in=frozenset({ProcessRole.STAT_SERVER}))
    assert set(migrations_of([added])) == {*HUB, "more.migrations", *of_nodes}
    assert names(whole([added])) == [*names(OWN), "more"]


def test_a_section_is_of_the_type_that_is_asked_for() -> None:
    unused = cast("Any", None)
    context = Context(cast("Any", SimpleNamespace(mine=7)), unused, unused, unused, ManualClock(), unused)
    assert context.section("mine", int) == 7
    with pytest.raises(TypeError, match="settings of mine: expected str, got int"):
        context.section("mine", str)


def test_the_types_of_webhooks_are_those_of_which_families_have_examples() -> None:
    publishers = (FilePublisher, InteractionPublisher, MediaPublisher)
    assert webhook_types(FAMILIES) == {each for publisher in publishers for each in publisher.example_types}
