"""Ids of tenants."""

from hub.objects.instances import instance_id, is_tenant

DEMO = "5cd8e7a8-b58e-5ef0-bfed-f90d05d1c9ad"


def test_the_id_follows_from_the_name() -> None:
    assert instance_id("demo") == DEMO
    assert instance_id("acme") != DEMO


def test_a_tenant_is_named_by_its_name_and_by_its_id() -> None:
    assert is_tenant("demo", "demo")
    assert is_tenant(DEMO, "demo")
    assert is_tenant(DEMO.upper(), "demo")
    assert not is_tenant(DEMO, "acme")
    assert not is_tenant("Demo", "demo")
