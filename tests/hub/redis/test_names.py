"""Names in Redis: of one slot a tenant, and never one for two things."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hub.core.message import Topic
from hub.redis.names import MAX_CACHED_TOPICS, Names, encode_tenant

_TENANTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


def test_the_keys_of_a_tenant() -> None:
    names = Names("hub").of("acme")
    assert (names.meta, names.stream, names.last, names.idempotency_keys) == (
        b"hub:{acme}:m",
        b"hub:{acme}:l",
        b"hub:{acme}:p",
        b"hub:{acme}:o",
    )
    assert (names.logins, names.subjects, names.batch("1f")) == (b"hub:{acme}:g", b"hub:{acme}:s", b"hub:{acme}:b:1f")


def test_the_channels_of_a_topic_are_its_own_and_those_of_its_patterns() -> None:
    assert Names("hub").channels(Topic("t", "", "/a/b")) == (
        b"hub:{t}:c::/a/b",
        b"hub:{t}:c::/a/*",
        b"hub:{t}:c::/a/**",
        b"hub:{t}:c::/**",
    )
    assert Names("hub").subscription(Topic("t", "login", "/a/**")) == b"hub:{t}:c:login:/a/**"


def test_topics_of_a_subject_share_a_channel() -> None:
    names = Names("hub")
    assert names.channels(Topic("t", "@ann", "/a/b")) == (b"hub:{t}:s",)


@given(_TENANTS, _TENANTS)
def test_tenants_do_not_share_names(left: str, right: str) -> None:
    assert (encode_tenant(left) == encode_tenant(right)) == (left == right)


@given(_TENANTS)
def test_a_tenant_does_not_move_its_slot(tenant: str) -> None:
    assert not set("{}:") & set(encode_tenant(tenant))


def test_what_is_remembered_is_bounded() -> None:
    names = Names("hub")
    for number in range(MAX_CACHED_TOPICS + 5):
        names.channels(Topic(f"t{number}", "", "/a"))
    assert len(names._channels) <= MAX_CACHED_TOPICS
    assert len(names._tenants) <= MAX_CACHED_TOPICS
