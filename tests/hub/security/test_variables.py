"""Variables in the patterns of grants, and that no subject gets out of its own segment."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hub.core.channels import InvalidChannelError, candidates, check_channel, check_pattern, lies_within, overlaps
from hub.core.principal import Action
from hub.security.roles import ANONYMOUS, SERVER_ONLY, Grant, allowed
from hub.security.variables import VariableError, bound, check_template, reach
from tests.support.access import ROLES

SUBJECTS = st.text(min_size=1, max_size=40)
TEMPLATES = ["/agents/{subject}", "/agents/{subject}/*", "/agents/{subject}/**", "/a/b/{subject}/c/**", "/a/{subject}/{subject}"]
ATTACKS = [
    "*",
    "**",
    "/",
    "..",
    ".",
    "../bob",
    "bob/**",
    "/bob",
    "ana/../bob",
    "%2F",
    "%",
    "%2e%2e",
    "a*b",
    "{subject}",
    "\ud800",
    "\x00",
    "é",
    " ",
]


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_is_taken_as_it_is(template: str) -> None:
    assert check_template(template) == template


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("/agents/{agent}", r"expected the variable \{subject\} as a whole segment of /agents/\{agent\}, got \{agent\}"),
        ("/agents/{tenant}/**", r"got \{tenant\}"),
        ("/agents/{Subject}", r"got \{Subject\}"),
        ("/agents/desk-{subject}", r"as a whole segment of /agents/desk-\{subject\}, got desk-\{subject\}"),
        ("/agents/{subject}.private", r"got \{subject\}\.private"),
        ("/agents/{subject}*", r"got \{subject\}\*"),
        ("/agents/{}", r"got \{\}"),
        ("/agents/{", r"got \{"),
        ("/agents/}", r"got \}"),
        ("/agents/{{subject}}", r"got \{\{subject\}\}"),
        ("/{subject}", r"expected a first segment without a variable, as in /agents/\{subject\}, got /\{subject\}"),
        ("/{subject}/**", r"expected a first segment without a variable"),
        ("{subject}", r"expected a first segment without a variable"),
    ],
)
def test_a_variable_that_is_none_or_stands_wrongly_is_refused(template: str, message: str) -> None:
    with pytest.raises(VariableError, match=message):
        check_template(template)


@pytest.mark.parametrize(
    "template", ["/a//{subject}", "/a/**/{subject}", "/a/{subject}/", "a/b/{subject}", "/a/é/{subject}", "/a" * 16 + "/{subject}"]
)
def test_the_rest_of_a_template_is_checked_as_a_pattern(template: str) -> None:
    with pytest.raises(InvalidChannelError):
        check_template(template)


@given(SUBJECTS, st.sampled_from(TEMPLATES))
@example("..", "/agents/{subject}/**")
def test_a_subject_stays_in_its_segment(subject: str, template: str) -> None:
    pattern = bound(template, subject)
    assert pattern.count("/") == template.count("/")
    assert pattern.count("*") == template.count("*")
    if len(pattern) <= 255:
        assert check_pattern(pattern) == pattern
    assert lies_within(pattern, reach(template))


@given(SUBJECTS, SUBJECTS)
@example("a/b", "a%2Fb")
@example("ana", "ana/..")
@example("\ud800", "?")
def test_two_subjects_never_share_a_channel(one: str, other: str) -> None:
    if one != other:
        for left in ("/agents/{subject}", "/agents/{subject}/**"):
            for right in ("/agents/{subject}", "/agents/{subject}/**"):
                assert not overlaps(bound(left, one), bound(right, other))


@pytest.mark.parametrize("subject", ATTACKS)
@pytest.mark.parametrize(
    "resource", ["/agents/bob", "/agents/bob/x", "/agents/bob/**", "/agents/*", "/agents/**", "/agents", "/hub/operations", "/**"]
)
def test_no_name_opens_what_is_somebody_elses(subject: str, resource: str) -> None:
    assert not allowed(ROLES["agent"], Action.SUBSCRIBE, resource, subject)
    assert not allowed((Grant(Action.CALL, ("/media/{subject}/**",)),), Action.CALL, "/media/bob/x", subject)


@given(SUBJECTS)
@example("hub")
@example("meta")
def test_an_agent_hears_its_own_channels_and_publishes_nowhere(subject: str) -> None:
    own = bound("/agents/{subject}", subject)
    for resource in (own, f"{own}/x", f"{own}/x/y", f"{own}/*", f"{own}/**"):
        assert allowed(ROLES["agent"], Action.SUBSCRIBE, resource, subject)
        assert not allowed(ROLES["agent"], Action.SUBSCRIBE, resource, f"{subject}x")
        assert not allowed(ROLES["dashboard"], Action.SUBSCRIBE, resource, subject)
        assert allowed(ROLES["supervisor"], Action.SUBSCRIBE, resource, subject)
        assert not allowed(ROLES["agent"], Action.PUBLISH, resource, subject)
    assert not any(allowed(ROLES[role], Action.PUBLISH, server, subject) for role in ROLES for server in SERVER_ONLY)


def test_a_subject_is_encoded_as_ids_in_channels_are() -> None:
    assert bound("/agents/{subject}/**", "a/b c*") == "/agents/a%2Fb%20c%2A/**"
    assert bound("/agents/{subject}", "ana@acme.example") == "/agents/ana@acme.example"
    assert bound("/a/{subject}/{subject}", "x") == "/a/x/x"
    assert bound("/agents/**", "x") == "/agents/**"


def test_nobody_without_a_name_has_channels() -> None:
    assert not allowed(ROLES["agent"], Action.SUBSCRIBE, "/agents/**", "")
    assert not allowed(ROLES["agent"], Action.SUBSCRIBE, "/agents/x", "")
    assert allowed(ROLES[ANONYMOUS], Action.SUBSCRIBE, "/agents/x", ANONYMOUS)  # --open: every free channel


@given(st.sampled_from(["/agents/ana", "/agents/ana/x", "/agents/*", "/**", "/other/x", "/agents", "/a/b/ana/c/d"]), SUBJECTS)
def test_where_the_answer_does_not_differ_by_subject_it_is_the_same_for_all(resource: str, subject: str) -> None:
    grants = [Grant(Action.SUBSCRIBE, ("/**",), tuple(TEMPLATES)), *(Grant(Action.SUBSCRIBE, (template,)) for template in TEMPLATES)]
    for grant in grants:
        if not grant.differs_by_subject(resource):
            assert allowed((grant,), Action.SUBSCRIBE, resource, subject) is allowed((grant,), Action.SUBSCRIBE, resource, "ana")


def test_reach_covers_what_a_template_stands_for() -> None:
    assert [reach(each) for each in ("/a/b", "/a/**", "/a/{subject}", "/a/b/{subject}/c")] == ["/a/b", "/a/**", "/a/**", "/a/b/**"]
    assert candidates(check_channel(bound("/agents/{subject}", "ana")))[0] == "/agents/ana"
