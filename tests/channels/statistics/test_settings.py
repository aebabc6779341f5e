"""The section ``statistics``."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from channels.statistics.settings import StatisticsSettings, is_zone, system_zone


def test_a_zone_that_is_given_counts() -> None:
    assert StatisticsSettings(zone="Europe/Madrid").time_zone().key == "Europe/Madrid"


@pytest.mark.parametrize("zone", ["Mars/Base", "Europe", "", "../etc/passwd", "/etc/localtime", "UTC\x00"])
def test_a_zone_that_is_none(zone: str) -> None:
    assert not is_zone(zone)
    with pytest.raises(ValidationError, match="IANA time zone"):
        StatisticsSettings(zone=zone)


def test_the_systems_zone_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    link = tmp_path / "localtime"
    link.symlink_to("/usr/share/zoneinfo/America/Lima")
    monkeypatch.delenv("TZ", raising=False)
    assert system_zone(link) == "America/Lima"
    monkeypatch.setenv("TZ", ":Asia/Tokyo")
    assert system_zone(link) == "Asia/Tokyo"
    assert StatisticsSettings().time_zone().key == "Asia/Tokyo"


@pytest.mark.parametrize("target", ["/somewhere/else", "/usr/share/zoneinfo/No/Where"])
def test_a_system_without_a_zone_is_in_utc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, target: str) -> None:
    monkeypatch.setenv("TZ", "nonsense/zone")
    link = tmp_path / "localtime"
    assert system_zone(link) == "UTC"
    link.symlink_to(target)
    assert system_zone(link) == "UTC"


def test_unknown_keys_are_errors() -> None:
    with pytest.raises(ValidationError, match="extra"):
        StatisticsSettings(zonne="UTC")  # type: ignore[call-arg]


def test_every_setting_is_described() -> None:
    assert [name for name, field in StatisticsSettings.model_fields.items() if not field.description] == []
