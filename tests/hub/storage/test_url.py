"""URLs of databases, with what SQLAlchemy 2.1 made of them, which read them before."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.storage.url import DatabaseUrl, sqlite_url


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("ana:geheim@db/hub", {"host": "db", "dbname": "hub", "user": "ana", "password": "geheim"}),
        (
            "ana:ge%40h%2Feim@db:5433/hub?sslmode=require&connect_timeout=3",
            {
                "host": "db",
                "dbname": "hub",
                "user": "ana",
                "password": "ge@h/eim",
                "port": 5433,
                "sslmode": "require",
                "connect_timeout": "3",
            },
        ),
        ("postgres@/hub_1?host=/tmp/x/y", {"dbname": "hub_1", "user": "postgres", "host": "/tmp/x/y"}),
        (
            "u:p@/db?host=a:5432&host=b:5433&target_session_attrs=read-write",
            {
                "dbname": "db",
                "user": "u",
                "password": "p",
                "host": "a,b",
                "port": "5432,5433",
                "target_session_attrs": "read-write",
            },
        ),
        ("u@/db?host=a,b&port=5432,5433", {"dbname": "db", "user": "u", "host": "a,b", "port": "5432,5433"}),
        ("u@h/db?host=c:77", {"dbname": "db", "user": "u", "host": "c", "port": "77"}),
        ("u@[::1]:5432/db", {"host": "::1", "port": 5432, "dbname": "db", "user": "u"}),
        (":5432/db", {"port": 5432, "dbname": "db"}),
        ("/db", {"dbname": "db"}),
        ("db.example.com", {"host": "db.example.com"}),
        ("u:a:b@h/db", {"host": "h", "dbname": "db", "user": "u", "password": "a:b"}),
        ("u:@h/db", {"host": "h", "dbname": "db", "user": "u"}),
        ("u%20x:p@h/a%20b", {"host": "h", "dbname": "a b", "user": "u x", "password": "p"}),
        (
            "u@h/x?options=-csearch_path%3Dfoo&application_name=a%20b",
            {"host": "h", "dbname": "x", "user": "u", "options": "-csearch_path=foo", "application_name": "a b"},
        ),
    ],
)
def test_what_postgresql_is_connected_with(rest: str, expected: dict[str, object]) -> None:
    for scheme in ("postgresql", "postgresql+psycopg", "postgres"):
        assert dict(DatabaseUrl.parse(f"{scheme}://{rest}").arguments()) == expected


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ana:geheim@db:5433/hub?sslmode=require", "postgresql://ana:***@db:5433/hub?sslmode=require"),
        ("postgresql://ana@/hub?password=geheim&host=/run/pg", "postgresql://ana@/hub?password=***&host=/run/pg"),
        ("postgresql://:geheim@[::1]/", "postgresql://:***@[::1]"),
        ("sqlite+aiosqlite:///x.db", "sqlite:///x.db"),
        ("sqlite://", "sqlite://"),
    ],
)
def test_it_is_shown_without_the_password(url: str, shown: str) -> None:
    assert str(DatabaseUrl.parse(url)) == shown


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///x.db", "x.db"),
        ("sqlite:////a/b c.db", "/a/b c.db"),
        ("sqlite:///../x.db", "../x.db"),
        ("sqlite:///a%20b%3F.db", "a b?.db"),
        ("sqlite+aiosqlite:////a@b:c/d.db", "/a@b:c/d.db"),
    ],
)
def test_the_file_of_sqlite(url: str, path: str) -> None:
    assert DatabaseUrl.parse(url).path == Path(path)
    assert DatabaseUrl.parse(sqlite_url(path)).path == Path(path)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///"])
def test_a_database_in_memory_has_no_file(url: str) -> None:
    assert DatabaseUrl.parse(url).path is None


@pytest.mark.parametrize("url", ["", "x.db", "mysql://u:geheim@h/db", "sqlite:x.db", "postgresql://u@h:1x/db"])
def test_what_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="expected") as refused:
        DatabaseUrl.parse(url)
    assert "geheim" not in str(refused.value)


def test_a_port_that_none_can_be_is_named() -> None:
    with pytest.raises(ValueError, match="expected a port from 1 to 65535, got 99999"):
        DatabaseUrl.parse("postgresql://u@h:99999/db")


def test_hosts_that_are_named_in_two_ways_are_refused() -> None:
    with pytest.raises(ValueError, match="got both"):
        DatabaseUrl.parse("postgresql://u@/db?host=a:1&host=b:2&port=3").arguments()
