"""The rules of roles against a naive model that looks at every channel of a small world, and the parser of grants against anything."""

from __future__ import annotations

import asyncio
import itertools
import json
from functools import cache
from typing import Any, Final

from hypothesis import example, given
from hypothesis import strategies as st

from hub.core.channels import to_segment
from hub.core.decision import Reason
from hub.core.limits import Limits
from hub.core.principal import Action, Principal
from hub.security.decisions import Decisions
from hub.security.roles import SERVER_ONLY, Grant, Grants, RoleError, judge, parse_grant
from hub.security.variables import SUBJECT
from tests.hub.security.test_decisions import Roles
from tests.robustness.campaign import LONG, SHORT, long_form, repeat

SUBJECTS: Final = ("ana", "b", "a/b", "*", "..", "hub")
SEGMENTS: Final = ("a", "b", "hub", "ana")
NEW: Final = ("x", "y")
"""Segments that no rule names: they stand for all others."""
DEPTH: Final = 3
"""Segments of a rule at most."""

_ALL: Final = tuple(dict.fromkeys((*SEGMENTS, *NEW, *map(to_segment, SUBJECTS))))
_WORLD: Final = tuple(
    (*channel, *more) for depth in range(1, DEPTH + 1) for channel in itertools.product(_ALL, repeat=depth) for more in ((), ("x",))
)
"""Channels, by their segments."""


def stands_for(pattern: str, channel: tuple[str, ...]) -> bool:
    """Whether a pattern matches a channel, segment by segment."""
    *fixed, last = pattern.split("/")[1:]
    if last == "**":
        return len(channel) > len(fixed) and channel[: len(fixed)] == tuple(fixed)
    if last == "*":
        return len(channel) == len(fixed) + 1 and channel[:-1] == tuple(fixed)
    return channel == (*fixed, last)


@cache
def world_of(pattern: str) -> frozenset[tuple[str, ...]]:
    """Every channel of the world that a pattern matches."""
    return frozenset(channel for channel in _WORLD if stands_for(pattern, channel))


def expected(roles: dict[str, Grants], action: Action, resource: str, subject: str) -> bool:
    """What the guide says (docs/security.md#roles-of-a-tenants-own), for each channel by itself."""
    asked = world_of(resource)

    def meant(pattern: str) -> frozenset[tuple[str, ...]]:
        return world_of(pattern.replace(SUBJECT, to_segment(subject)))

    if action is Action.PUBLISH and any(asked & world_of(server) for server in SERVER_ONLY):
        return False
    grants = [grant for of_role in roles.values() for grant in of_role if grant.action is action]
    for grant in grants:
        if grant.deny and any(asked & meant(each) for each in grant.within) and not any(asked <= meant(each) for each in grant.without):
            return False
    return any(
        asked <= meant(pattern) and not any(asked & meant(each) for each in grant.without)
        for grant in grants
        if not grant.deny
        for pattern in grant.within
    )


fixed = st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=DEPTH - 1).map(lambda parts: "/" + "/".join(parts))
wildcards = st.builds(lambda base, last: f"{base}/{last}", fixed, st.sampled_from(["*", "**"]))
variables = st.sampled_from(
    [f"/a/{SUBJECT}", f"/a/{SUBJECT}/*", f"/a/{SUBJECT}/**", f"/a/{SUBJECT}/b", f"/hub/{SUBJECT}", f"/b/a/{SUBJECT}"]
)
resources = st.one_of(fixed, wildcards, st.sampled_from(["/**", "/*"]))
templates = st.one_of(resources, variables)
grants = st.builds(
    Grant,
    st.sampled_from(Action),
    st.lists(templates, min_size=1, max_size=3).map(tuple),
    st.lists(templates, max_size=2).map(tuple),
    st.booleans(),
)
roles = st.dictionaries(st.sampled_from(["one", "two"]), st.lists(grants, max_size=4).map(tuple), max_size=2)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | templates,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=5,
)
patterns = st.lists(templates | st.text(max_size=8) | st.text("/a*{}subject%.", max_size=16), max_size=4)
stored = st.one_of(
    values,
    st.fixed_dictionaries(
        {},
        optional={
            "action": st.sampled_from(["subscribe", "publish", "call"]) | values,
            "within": patterns | values,
            "without": patterns | values,
            "deny": st.booleans() | values,
            "more": values,
        },
    ),
)


def _decides_as_the_model(of_roles: dict[str, Grants], action: Action, resource: str, subject: str) -> None:
    decision = judge(of_roles, action, resource, subject)
    assert decision.allowed is expected(of_roles, action, resource, subject), decision
    assert decision.allowed is (decision.reason is Reason.GRANTED)
    if decision.role:
        named = [pattern for grant in of_roles[decision.role] for pattern in (*grant.within, *grant.without)]
        assert decision.rule in named
    for grant in itertools.chain(*of_roles.values()):  # what is stored decides alike
        assert parse_grant(json.loads(json.dumps(grant.to_json()))) == grant


def _remembers_no_wrong_decision(of_roles: dict[str, Grants], asked: list[tuple[str, str, str, Action]]) -> None:
    """Several subjects ask the same hub, which remembers three decisions, and each question comes twice."""
    directory: Any = Roles(of_roles)
    decisions = Decisions(directory, limits=Limits(max_decisions=3))

    async def ask() -> None:
        for role, subject, resource, action in [*asked, *asked]:
            caller = Principal("acme", subject, frozenset({role}), "l", "l")
            found = await decisions.decide(caller, action, resource)
            assert found.allowed is expected({role: of_roles.get(role, ())}, action, resource, subject)
            assert len(decisions) <= 3

    asyncio.run(ask())


def _is_a_grant_or_refused(raw: Any) -> None:
    grant: Grant | None = None
    refused = ""
    try:
        grant = parse_grant(raw)
    except RoleError as error:
        refused = str(error)
    if grant is None:
        assert refused.startswith("grant")
        return
    assert parse_grant(grant.to_json()) == grant
    assert {"action", "within"} <= raw.keys()
    for subject in SUBJECTS:
        mine = grant.bound(subject)
        assert not mine.personal
        assert [each.count("/") for each in mine.within] == [each.count("/") for each in grant.within]
        judge({"": (grant,)}, grant.action, "/a/b", subject)


decides = given(roles, st.sampled_from(Action), resources, st.sampled_from(SUBJECTS))


@example({"one": (Grant(Action.SUBSCRIBE, (f"/a/{SUBJECT}/**",)),)}, Action.SUBSCRIBE, "/a/**", "**")
@example({"one": (Grant(Action.SUBSCRIBE, ("/**",), ("/a/b",)), Grant(Action.SUBSCRIBE, ("/a/b",)))}, Action.SUBSCRIBE, "/a/*", "ana")
@example({"one": (Grant(Action.PUBLISH, ("/**",)),)}, Action.PUBLISH, "/*", "ana")
@SHORT
@decides
def test_rules_decide_as_the_guide_says(of_roles: dict[str, Grants], action: Action, resource: str, subject: str) -> None:
    _decides_as_the_model(of_roles, action, resource, subject)


questions = st.lists(st.tuples(st.sampled_from(["one", "two"]), st.sampled_from(SUBJECTS), resources, st.sampled_from(Action)), max_size=8)
remembers = given(roles, questions)


@SHORT
@remembers
@example(
    {"one": (Grant(Action.SUBSCRIBE, (f"/a/{SUBJECT}/**",)),)},
    [("one", "ana", "/a/ana/*", Action.SUBSCRIBE), ("one", "b", "/a/ana/*", Action.SUBSCRIBE)],
)
def test_what_is_remembered_for_one_subject_answers_no_other(
    of_roles: dict[str, Grants], asked: list[tuple[str, str, str, Action]]
) -> None:
    _remembers_no_wrong_decision(of_roles, asked)


@SHORT
@given(stored)
@example({"action": "call", "within": ["/a/{subject}/**", "/{subject}"]})
@example({"action": "call", "within": [["/a"]]})
@example({"action": ["call"], "within": ["/a"]})
@example({"action": "call", "within": {"/a": 1}})
@example({"action": "call", "within": ["/a/{subject}/\ud800"]})
def test_whatever_is_stored_is_a_grant_or_refused_in_words(raw: Any) -> None:
    _is_a_grant_or_refused(raw)


@long_form
def test_many_rules_decide_as_the_guide_says() -> None:
    repeat(LONG(decides(_decides_as_the_model)))


@long_form
def test_much_that_is_remembered_answers_nobody_else() -> None:
    repeat(LONG(remembers(_remembers_no_wrong_decision)))


@long_form
def test_much_that_is_stored_is_a_grant_or_refused_in_words() -> None:
    repeat(LONG(given(stored)(_is_a_grant_or_refused)))
