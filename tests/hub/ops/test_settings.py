"""Where settings come from, which one wins, and what is said of those that cannot be used."""

import json
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_origin

import pytest
from pydantic import BaseModel, ConfigDict, Field

from channels.families import FAMILIES as ALL_FAMILIES
from hub.core.limits import Limits
from hub.ops.reference import sections
from hub.ops.settings import Settings, SettingsError, load, model_of
from hub.ops.usable import check_supported
from hub.storage.url import DatabaseUrl


class Clockwork(BaseModel):
    """Settings of a family."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    clock: str = Field(default="wall", pattern="^(wall|events)$", description="Which clock.")
    names: dict[str, str] = Field(default_factory=dict, description="Free names.")


FAMILIES: Any = [SimpleNamespace(name="statistics", settings=Clockwork), SimpleNamespace(name="wallboard", settings=None)]


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own and no HUB_ variables."""
    import os

    monkeypatch.chdir(tmp_path)
    for variable in os.environ:
        if variable.startswith("HUB_"):
            monkeypatch.delenv(variable)


def settings(config: str | None = None, **flags: Any) -> Any:
    path = None
    if config is not None:
        path = Path("given.toml")
        path.write_text(config)
    return load(FAMILIES, config=path, flags=flags)


def problems(config: str | None = None, **flags: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        settings(config, **flags)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def test_the_defaults_are_those_that_are_documented() -> None:
    made = settings()
    assert (made.host, made.port, made.workers, made.role, made.data_dir) == ("127.0.0.1", 8080, 1, "all", Path("hub-data"))
    assert made.limits == Limits()
    assert made.statistics == Clockwork()
    assert (made.demo, made.open, made.secret, made.allowed_origins) == (False, False, None, ())


def test_flags_win_over_the_environment_and_these_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    config = 'host = "of-file"\nport = 1\nworkers = 2\n[limits]\nmax_batch = 1\ntimeout_ms = 1'
    monkeypatch.setenv("HUB_PORT", "2")
    monkeypatch.setenv("HUB_WORKERS", "3")
    monkeypatch.setenv("HUB_LIMITS__TIMEOUT_MS", "2")
    made = settings(config, workers=4, limits={"interval_ms": 9}, host=None)
    assert (made.host, made.port, made.workers) == ("of-file", 2, 4)
    assert (made.limits.max_batch, made.limits.timeout_ms, made.limits.interval_ms) == (1, 2, 9)


def test_hub_toml_of_the_folder_is_read_if_there_is_one() -> None:
    Path("hub.toml").write_text("port = 9")
    assert settings().port == 9
    assert settings("").port == 8080  # another file is named


def test_a_familys_section_is_set_from_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings('[statistics]\nclock = "events"').statistics.clock == "events"
    assert settings(statistics={"clock": "events"}).statistics.clock == "events"
    monkeypatch.setenv("HUB_STATISTICS__CLOCK", "events")
    assert settings().statistics.clock == "events"


def test_a_free_dictionary_takes_any_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings('[statistics.names]\na = "b"').statistics.names == {"a": "b"}
    monkeypatch.setenv("HUB_STATISTICS__NAMES", '{"c": "d"}')
    assert settings().statistics.names == {"c": "d"}


def test_the_environments_names_may_be_in_any_case_and_empty_ones_are_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("hub_port", "9")
    monkeypatch.setenv("HUB_REDIS_URL", "")
    monkeypatch.setenv("HUB_NOPE", "")
    assert (settings().port, settings().redis_url) == (9, None)


def test_variables_of_clients_and_tests_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HUB_URL", "HUB_TOKEN", "HUB_API_KEY", "HUB_TEST_STRICT"):
        monkeypatch.setenv(variable, "x")
    assert settings().port == 8080


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("HUB_PROT", "HUB_PROT: no such setting (from the environment); did you mean HUB_PORT?"),
        ("HUB_QQQQ", "HUB_QQQQ: no such setting (from the environment)"),
        (
            "HUB_LIMITZ__MAX_BATCH",
            "HUB_LIMITZ__MAX_BATCH: no such setting section (from the environment); did you mean HUB_LIMITS__MAX_BATCH?",
        ),
        ("HUB_LIMITS__MAX_BACH", "HUB_LIMITS__MAX_BACH: no such setting (from the environment); did you mean HUB_LIMITS__MAX_BATCH?"),
        ("HUB_PORT__X", "HUB_PORT__X: no such setting (from the environment); did you mean HUB_PORT?"),
        ("HUB_WALLBOARD__X", "HUB_WALLBOARD__X: no such setting section (from the environment)"),
    ],
)
def test_an_unknown_variable_is_an_error_that_names_the_nearest(monkeypatch: pytest.MonkeyPatch, variable: str, hint: str) -> None:
    monkeypatch.setenv(variable, "1")
    assert problems() == [hint]


def test_unknown_keys_of_file_and_flags_are_errors_that_name_the_nearest() -> None:
    assert problems("prot = 1\n[limits]\nmax_bach = 1\n[statistic]\nclock = 1\n[zzz]", demoo=True) == [
        "prot: no such setting (in given.toml); did you mean port?",
        "limits.max_bach: no such setting (in given.toml); did you mean limits.max_batch?",
        "statistic: no such setting (in given.toml); did you mean statistics?",
        "zzz: no such setting (in given.toml)",
        "demoo: no such setting (among the flags); did you mean demo?",
    ]


def test_each_wrong_value_is_a_line_with_key_expected_got_and_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_LIMITS__MAX_BATCH", "many")
    monkeypatch.setenv("HUB_STATISTICS__CLOCK", "moon")
    assert problems('port = "x"\nhost = 5', role="boss", data_dir=7) == [
        "host: expected a valid string, got 5 (from given.toml)",
        "port: expected a valid integer, unable to parse string as an integer, got 'x' (from given.toml)",
        "role: expected 'all', 'edge' or 'stat-server', got 'boss' (from the flag --role)",
        "data_dir: expected a path, got 7 (from the flag --data-dir)",
        (
            "limits.max_batch: expected a valid integer, unable to parse string as an integer, got 'many' "
            "(from the environment variable HUB_LIMITS__MAX_BATCH)"
        ),
        "statistics.clock: expected text of pattern '^(wall|events)$', got 'moon' (from the environment variable HUB_STATISTICS__CLOCK)",
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"port": 65_536}, "port: expected less than or equal to 65535, got 65536"),
        ({"port": -1}, "port: expected greater than or equal to 0, got -1"),
        ({"workers": 0}, "workers: expected greater than or equal to 1, got 0"),
        ({"limits": 7}, "limits: expected a section, got 7"),
        ({"limits": {"max_batch": -1}}, "limits.max_batch: expected greater than or equal to 0, got -1"),
        ({"statistics": "x"}, "statistics: expected a section, got 'x'"),
        ({"demo": "perhaps"}, "demo: expected a valid boolean, unable to interpret input, got 'perhaps'"),
        ({"public_url": "hub.example.com"}, "public_url: expected the URL of the hub as clients see it"),
        ({"public_url": 5}, "public_url: expected a valid string, got 5"),
        ({"redis_url": "http://x"}, "redis_url: expected a URL such as redis://localhost:6379/0, redis+sentinel://"),
        ({"database_url": "mysql://u:geheim@x"}, "database_url: expected a URL such as postgresql://"),
        ({"secret": "short"}, "secret: expected at least 16 characters, got a hidden value"),
        ({"allowed_origins": "https://a/b"}, "allowed_origins: expected an origin such as https://desk.example.com, got 'https://a/b'"),
        ({"allowed_origins": ["https://a.b", "b"]}, "allowed_origins: expected an origin such as https://desk.example.com, got 'b'"),
        ({"allowed_hosts": ["a.b", "b/c"]}, "allowed_hosts: expected a host such as hub.example.com, with a port or without, got 'b/c'"),
        ({"allowed_origins": ["*"]}, "allowed_origins: expected an origin"),
        ({"allowed_origins": [1]}, "allowed_origins: expected a valid string, got 1"),
        (
            {"trusted_proxies": ["10.0.0.1", "10.0.0.0/33"]},
            "trusted_proxies: expected an address or a network such as 10.1.0.0/16, got '10.0.0.0/33'",
        ),
        ({"allowed_origins": 5}, "allowed_origins: expected a list (in the environment: values between commas, or JSON), got 5"),
    ],
)
def test_a_value_that_cannot_be_is_refused(values: dict[str, Any], expected: str) -> None:
    (problem,) = problems(**values)
    assert problem.startswith(expected)
    assert "geheim" not in problem


def test_a_value_that_must_be_there_is_asked_for() -> None:
    class Strict(BaseModel):
        """Settings without a default."""

        need: int = Field(description="Needed.")

    family: Any = SimpleNamespace(name="strict", settings=Strict)
    with pytest.raises(SettingsError) as caught:
        load([family], config=None, flags={"strict": {}})
    assert caught.value.problems == ["strict.need: expected a value, got nothing (from its default)"]


def test_json_that_is_none_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_STATISTICS__NAMES", "{")
    assert problems() == [
        "statistics.names: expected a valid dictionary, got '{' (from the environment variable HUB_STATISTICS__NAMES)",
    ]


def test_a_section_that_is_no_json_in_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_STATISTICS", "wall")
    assert problems() == ["statistics: expected a section, got 'wall' (from the environment variable HUB_STATISTICS)"]


LISTS: dict[str, tuple[str, Any]] = {
    "HUB_ALLOWED_ORIGINS": ("https://a.b, https://c.d", ("https://a.b", "https://c.d")),
    "HUB_ALLOWED_HOSTS": ("Hub.example, [fd00::1]:8443", ("hub.example", "[fd00::1]:8443")),
    "HUB_TRUSTED_PROXIES": ("10.0.0.5, fd00::/8", (IPv4Network("10.0.0.5/32"), IPv6Network("fd00::/8"))),
    "HUB_EXTENSIONS": ("a:B, c.py:D", ("a:B", "c.py:D")),
    "HUB_REPLAY__CHANNELS": ("/a, /b/**", ("/a", "/b/**")),
    "HUB_PRESENCE__CHANNELS": ("/a, /b/**", ("/a", "/b/**")),
    "HUB_OUTBOX__RETRY_S": ("5, 300,1800", (5, 300, 1800)),
    "HUB_AUTH__ISSUER_NETWORKS": ("10.1.0.0/16, fd00::/8", (IPv4Network("10.1.0.0/16"), IPv6Network("fd00::/8"))),
    "HUB_OUTBOX__ALLOWED_NETWORKS": ("10.1.0.0/16, fd00::/8", (IPv4Network("10.1.0.0/16"), IPv6Network("fd00::/8"))),
    "HUB_SECURE_EMAIL__ALLOWED_TYPES": ("image/*, text/plain", ("image/*", "text/plain")),
    "HUB_MESSAGING__MEDIA_TYPES": ("image/*, text/plain", ("image/*", "text/plain")),
    "HUB_FILES__EXTENSIONS": ("pdf, .PNG", ("pdf", "png")),
    "HUB_FILES__SCANNER_NETWORKS": ("10.1.0.0/16, fd00::/8", (IPv4Network("10.1.0.0/16"), IPv6Network("fd00::/8"))),
}
"""Every list that a hub has as a setting: two or more values between commas, and what they are."""

TABLES = {"HUB_AUTH__ISSUERS"}
"""Lists of tables: in the environment they are JSON."""


def of_hub(variable: str) -> Any:
    """The value of a setting of the whole hub."""
    value: Any = load(ALL_FAMILIES, config=None, flags={})
    for step in variable.removeprefix("HUB_").lower().split("__"):
        value = getattr(value, step)
    return value


def test_the_table_of_lists_has_every_list() -> None:
    found = {
        "__".join(("HUB", *filter(None, (name, key)))).upper().replace("HUB__", "HUB_")
        for name, _, model in sections(model_of(ALL_FAMILIES))
        for key, field in model.model_fields.items()
        if get_origin(field.annotation) in (tuple, list, set, frozenset)
    }
    assert found == LISTS.keys() | TABLES


@pytest.mark.parametrize("variable", LISTS)
def test_a_list_in_the_environment_takes_commas_and_json(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    text, expected = LISTS[variable]
    monkeypatch.setenv(variable, text)
    assert of_hub(variable) == expected
    parts = [part.strip() for part in text.split(",")]
    monkeypatch.setenv(variable, json.dumps(parts))
    assert of_hub(variable) == expected
    monkeypatch.setenv(variable, parts[0])
    assert of_hub(variable) == expected[:1]


@pytest.mark.parametrize("variable", LISTS)
def test_a_bad_list_in_the_environment_names_key_expected_and_got(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, '["torn')
    with pytest.raises(SettingsError) as caught:
        of_hub(variable)
    key = variable.removeprefix("HUB_").lower().replace("__", ".")
    expected = "expected a list (in the environment: values between commas, or JSON)"
    assert caught.value.problems == [f"{key}: {expected}, got '[\"torn' (from the environment variable {variable})"]


def test_a_bad_value_in_a_list_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_OUTBOX__RETRY_S", "5, soon")
    (problem,) = problems()
    assert problem.startswith("outbox.retry_s: expected a valid number, unable to parse string as a number, got 'soon' (")
    monkeypatch.setenv("HUB_OUTBOX__RETRY_S", "5")
    monkeypatch.setenv("HUB_OUTBOX__ALLOWED_NETWORKS", "10.1.0.0/16;10.2.0.0/16")
    (problem,) = problems()
    assert problem.startswith("outbox.allowed_networks: expected")
    assert problem.endswith("got '10.1.0.0/16;10.2.0.0/16' (from the environment variable HUB_OUTBOX__ALLOWED_NETWORKS)")


@pytest.mark.parametrize(
    ("content", "expected"),
    [("port =", "given.toml: expected TOML, got a fault"), ("[a]\n[a]", "given.toml: expected TOML, got a fault")],
)
def test_a_file_that_is_no_toml_is_refused(content: str, expected: str) -> None:
    (problem,) = problems(content)
    assert problem.startswith(expected)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"x\.toml: expected TOML"):
        load((), config=tmp_path / "x.toml", flags={})


def test_a_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml: expected a settings file, got: No such file"):
        load((), config=Path("nowhere.toml"), flags={})


def test_origins_are_taken_from_lists_and_from_texts() -> None:
    assert settings('allowed_origins = ["https://A.b/", "http://c:80"]').allowed_origins == ("https://a.b", "http://c:80")
    assert settings(allowed_origins="https://a.b, http://c:80,").allowed_origins == ("https://a.b", "http://c:80")


def test_the_public_url_has_no_slash_at_its_end() -> None:
    assert settings(public_url="https://hub.example.com/cx/").public_url == "https://hub.example.com/cx"


def test_nodes_that_share_a_redis_need_the_same_secret() -> None:
    with pytest.raises(SettingsError) as refused:
        check_supported(settings(redis_url="redis://x"))
    assert refused.value.problems == ["secret: expected the same one on each hub that shares the Redis of redis_url, got none"]
    check_supported(settings(redis_url="redis://x", secret="at least sixteen characters"))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (None, "sqlite:///data/hub.db"),
        ("postgres://u@h/d", "postgresql://u@h/d"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgresql+psycopg://u@h/d", "postgresql://u@h/d"),
        ("sqlite:///x.db", "sqlite:///x.db"),
        ("sqlite+aiosqlite:///x.db", "sqlite:///x.db"),
    ],
)
def test_the_database_has_its_driver(url: str | None, expected: str) -> None:
    assert settings(database_url=url, data_dir="data").database == expected


@pytest.mark.parametrize("folder", ["plain", "100 % of it", "a%20b", "what?", "x#y", "a:b@c", "名前"])
def test_a_data_folder_of_any_name_has_its_database(folder: str) -> None:
    assert DatabaseUrl.parse(settings(data_dir=folder).database).path == Path(folder) / "hub.db"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://h:geheim/db", "database_url: expected a number as the port, got 6 characters of which some are no digits"),
        ("postgresql://u:geheim@/db?host=a:1&host=b:2&port=3", "database_url: expected hosts as host=a:5432&host=b:5432"),
    ],
)
def test_a_database_url_that_cannot_be_read_is_refused_without_its_password(url: str, message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        settings(database_url=url)
    assert message in str(refused.value)
    assert "geheim" not in str(refused.value)


def test_limits_may_be_given_as_what_they_are() -> None:
    assert Settings(limits=Limits(max_batch=1)).limits == Limits(max_batch=1)


def test_settings_stay_as_they_are() -> None:
    made = settings()
    with pytest.raises(ValueError, match="frozen"):
        made.port = 1


def test_a_family_cannot_take_the_name_of_a_setting() -> None:
    family: Any = SimpleNamespace(name="port", settings=Clockwork)
    with pytest.raises(ValueError, match="the family port has the name of a setting"):
        model_of([family])


@pytest.mark.parametrize("channels", ["/orders/**, /chat", ""])
def test_log_channels_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, channels: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HUB_REPLAY__CHANNELS", channels)
    loaded = load([], config=None, flags={})
    assert loaded.replay.channels == (("/orders/**", "/chat") if channels else ())


@pytest.mark.parametrize(
    ("channels", "text"), [("orders", "a channel is /segment"), ("/statistics/v3/**", "expected channels outside"), ("/hub/x", "outside")]
)
def test_log_channels_that_are_not_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, channels: str, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HUB_REPLAY__CHANNELS", channels)
    with pytest.raises(SettingsError, match=text):
        load([], config=None, flags={})


def test_channels_whose_joins_are_told_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HUB_PRESENCE__CHANNELS", "/rooms/**, /statistics/v3/updates,/**")
    assert load([], config=None, flags={}).presence.channels == ("/rooms/**", "/statistics/v3/updates", "/**")


@pytest.mark.parametrize("channels", ["rooms", "/hub/operations", "/hub", "/service/**", "/meta/*"])
def test_channels_whose_joins_are_not_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, channels: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HUB_PRESENCE__CHANNELS", channels)
    with pytest.raises(SettingsError, match=r"presence\.channels"):
        load([], config=None, flags={})


def test_how_sessions_are_bound_is_one_of_two_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_LIMITS__SESSION_BINDING", "strict")
    assert load([], config=None, flags={}).limits.session_binding == "strict"
    monkeypatch.setenv("HUB_LIMITS__SESSION_BINDING", "lax")
    with pytest.raises(SettingsError, match=r"limits\.session_binding: expected .*'client-id' or 'strict', got 'lax'"):
        load([], config=None, flags={})


def test_what_came_is_said_once_and_of_the_field_alone() -> None:
    def told(config: str) -> list[str]:
        path = Path("told.toml")
        path.write_text(config)
        with pytest.raises(SettingsError) as caught:
            load(ALL_FAMILIES, config=path, flags={})
        return caught.value.problems

    issuer = '[[auth.issuers]]\nname = "corp"\nissuer = "https://a.example"\naudience = ["hub"]\ndefault_roles = ["viewer"]\n'
    named = issuer + 'tenant = "acme"\n'
    assert told(named + named) == ["auth.issuers: expected another name for each, got 'corp' twice (from told.toml)"]
    assert told(issuer) == ["auth.issuers[0].tenant: expected either tenant, or tenant_claim with tenants (from told.toml)"]
    assert told('[objects]\nurl = "s4://x/y"\n') == [
        "objects.url: expected file://, s3://, gs://, az:// and a place, such as s3://bucket/folder, got 's4://x/y' (from told.toml)"
    ]
    for text in ('url = "http://ana:geheim@h?k=geheim"', 'url = "s3://ana:geheim@x/y"', 'endpoint = "https://ana:geheim@h"'):
        (line,) = told(f"[objects]\n{text}\n")
        assert "[hidden]@" in line
        assert "geheim" not in line
    (line,) = told('[files]\nscanner_url = "http://ana:geheim@h/scan?key=geheim"\n')
    assert line.startswith("files.scanner_url: expected a URL without a user name")
    assert "geheim" not in line
    lone = told('[objects]\nurl = "s3://x/y"\nsecret_access_key = "never shown anywhere"\n')
    assert lone == ["objects.access_key_id, secret_access_key: expected both or neither (from told.toml)"]


def test_what_a_section_checks_of_one_field_comes_from_the_source_of_that_field(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_FILES__SCANNER_URL", "http://127.0.0.1:8099/scan")
    monkeypatch.setenv("HUB_FILES__MAX_BYTES", "1000")
    with pytest.raises(SettingsError) as caught:
        load(ALL_FAMILIES, config=None, flags={})
    (problem,) = caught.value.problems
    assert problem.startswith("files.scanner_url: expected a host whose address is public, or within files.scanner_networks")
    assert problem.endswith("(from the environment variable HUB_FILES__SCANNER_URL)")
