"""`hub config --check`: whether `hub serve` would take the settings, without starting anything."""

from pathlib import Path

import pytest

from tests.support.hub_process import clean_environment, run_hub


def check(folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> tuple[int, str, list[str]]:
    """Exit code, what it said, and the problems."""
    done = run_hub(["config", "--check", *arguments], folder, clean_environment(environment or {}))
    return done.returncode, done.stdout, done.stderr.splitlines()


def test_settings_that_can_be_used(tmp_path: Path) -> None:
    assert check(tmp_path) == (0, "the settings can be used (no settings file, flags and the environment)\n", [])
    (tmp_path / "hub.toml").write_text("port = 9000\n")
    assert check(tmp_path) == (0, "the settings can be used (hub.toml, flags and the environment)\n", [])
    assert [path.name for path in tmp_path.iterdir()] == ["hub.toml"]  # no data folder is made


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "new.toml").write_text("port = 'x'\n[limits]\nmax_batch = -1\n")
    code, said, problems = check(tmp_path, "--config", "new.toml")
    assert (code, said) == (2, "")
    assert [problem.split(":")[0] for problem in problems] == ["port", "limits.max_batch"]


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("HUB_EXTENSIONS", "missing.py:Desk", "extensions: 'missing.py:Desk' cannot be imported: FileNotFoundError"),
        ("HUB_ROLE", "edge", "redis_url: expected the Redis of the hub, which the role edge needs to work with other nodes, got none"),
        ("HUB_OUTBOX__RETRY_S", "[5", "outbox.retry_s: expected a list"),
    ],
)
def test_what_serve_would_refuse_later_is_refused_too(tmp_path: Path, variable: str, value: str, problem: str) -> None:
    code, _, problems = check(tmp_path, environment={variable: value})
    assert code == 2
    assert problems[0].startswith(problem)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis+sentinel://host:26379", "redis_url: expected the name of the master behind the hosts"),
        ("redis://host:6379,redis://host:99999", "redis_url: expected a port from 0 to 65535 behind host, got 99999"),
        ("redis+cluster://host:6379/1", "redis_url: expected no database, or 0"),
        ("redis://host:6379/abc", "redis_url: expected the number of a database behind the host, such as redis://host:6379/0, got 'abc'"),
    ],
)
def test_a_redis_url_that_serve_would_refuse_is_refused(tmp_path: Path, url: str, problem: str) -> None:
    code, _, problems = check(tmp_path, environment={"HUB_REDIS_URL": url, "HUB_SECRET": "s" * 32})
    assert code == 2
    assert problems[0].startswith(problem)


def test_a_certificate_of_links_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    environment = {"HUB_REDIS_URL": "redis://host", "HUB_SECRET": "s" * 32, "HUB_LINK_LISTEN": "10.0.0.5:9080"}
    code, _, problems = check(tmp_path, environment=environment | {"HUB_LINK_TLS_CERT": "none.pem"})
    assert code == 2
    assert problems == [f"link_tls_cert: expected a file (PEM) that this user can read, got {tmp_path / 'none.pem'}"]
