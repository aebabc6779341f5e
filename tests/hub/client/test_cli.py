"""``hub listen`` and ``hub publish`` as processes, against a real hub."""

import codecs
import contextlib
import signal
import subprocess
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import orjson
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from hub.client import cli
from hub.client.cli import register
from hub.client.errors import PublishError, SubscribeError
from tests.conftest import QUIET_CENTRE
from tests.support.hub_process import HubProcess, clean_environment, free_port, hub_command

WITHIN_S = 30.0
_names = count(1)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    hub = HubProcess(tmp_path_factory.mktemp("hub"), ("--demo",), QUIET_CENTRE | {"HUB_REPLAY__CHANNELS": "/log/**"})
    try:
        yield hub.start()
    finally:
        hub.close()


@pytest.fixture
def channel() -> str:
    return f"/log/{next(_names)}"


def start(hub: HubProcess, *arguments: str, stdin: Any = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    environment = clean_environment({"HUB_URL": hub.url, "HUB_TOKEN": hub.token})
    return subprocess.Popen([str(hub_command()), *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=stdin)


def run(hub: HubProcess, *arguments: str, given: bytes = b"") -> tuple[int, str, str]:
    process = start(hub, *arguments, stdin=subprocess.PIPE)
    out, errors = process.communicate(given, timeout=WITHIN_S)
    return process.returncode, out.decode(), errors.decode()


def invoke(*arguments: str, environment: Mapping[str, str] = {}) -> Result:
    """The command in this process."""
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "300", **environment})


def until_said(process: subprocess.Popen[bytes], words: bytes) -> None:
    """Read standard error up to a line that has these words."""
    assert process.stderr is not None
    said = b""
    for text in process.stderr:
        said += text
        if words in text:
            return
    raise AssertionError(f"it ended with {process.wait()}: {said.decode()}")


def test_a_line_an_event_with_the_data_as_it_was_written(hub: HubProcess, channel: str) -> None:
    publish = run(hub, "publish", channel, '{"price":1.10,"big":18446744073709551616}')
    assert publish == (0, "", "")
    code, out, _ = run(hub, "listen", channel, "--since", "all", "--count", "1")
    assert code == 0
    position = orjson.loads(out)["position"]
    data = f'{{"event":{{"replayId":{position}}},"price":1.10,"big":18446744073709551616}}'
    assert out == f'{{"channel":"{channel}","data":{data},"position":{position}}}\n'


@pytest.mark.parametrize("transport", ["websocket", "long-polling"])
def test_events_as_they_come(hub: HubProcess, channel: str, transport: str) -> None:
    with start(hub, "listen", f"{channel}/*", "--transport", transport, "--count", "2") as listener:
        until_said(listener, b"listening to")
        run(hub, "publish", f"{channel}/a", "-", given=b'{"hi":1}\n2')
        out, _ = listener.communicate(timeout=WITHIN_S)
    assert out.decode() == f'{{"channel":"{channel}/a","data":{{"hi":1}}}}\n{{"channel":"{channel}/a","data":2}}\n'
    assert listener.returncode == 0


def test_lines_of_standard_input(hub: HubProcess, channel: str) -> None:
    lines = b"".join(b"%d\n" % number for number in range(1200)) + b'{"no json\n\n"last"'
    code, _, errors = run(hub, "publish", channel, "-", given=lines)
    assert code == 1
    assert "line 1201: expected JSON, got '{\"no json'" in errors
    assert "1,201 published, 1 refused" in errors
    _, out, _ = run(hub, "listen", channel, "--since", "all", "--count", "1201")
    assert [orjson.loads(text)["data"] for text in out.splitlines()] == [*range(1200), "last"]


def test_a_byte_order_mark_in_front_of_the_lines_is_no_data(hub: HubProcess, channel: str) -> None:
    """Editors on Windows write one; what looks like one further on is data that is no JSON."""
    code, _, errors = run(hub, "publish", channel, "-", given=codecs.BOM_UTF8 + b'{"a":1}\n' + codecs.BOM_UTF8 + b"2\n3")
    assert code == 1
    assert "line 2: expected JSON" in errors
    assert "2 published, 1 refused" in errors
    _, out, _ = run(hub, "listen", channel, "--since", "all", "--count", "2")
    assert [orjson.loads(text)["data"] for text in out.splitlines()] == [{"a": 1, "event": ANY}, 3]


def test_lines_that_are_refused_say_what_to_do(hub: HubProcess) -> None:
    code, _, errors = run(hub, "publish", "/hub/x", "-", given=b"1\n")
    assert code == 1
    assert "line 1: refused: only the server publishes on /hub and below it, whatever the role (403:denied:publish_denied)" in errors


@pytest.mark.parametrize("since", ["all", "new"])
def test_a_channel_without_a_log_is_said(hub: HubProcess, since: str) -> None:
    """Nothing would come, and nothing would say why."""
    with start(hub, "listen", "/my/unkept", "/log/kept/**", "--since", since) as listener:
        until_said(listener, b"--since: the hub keeps no log of /my/unkept: only what is new comes")
        listener.terminate()
        assert listener.wait(WITHIN_S) == 0


def test_a_channel_with_a_log_is_not_said_to_have_none(hub: HubProcess, channel: str) -> None:
    run(hub, "publish", channel, "1")
    code, _, errors = run(hub, "listen", channel, f"{channel}/**", "--since", "all", "--count", "1")
    assert (code, "keeps no log" in errors) == (0, False)


def test_a_file_is_standard_input_too(hub: HubProcess, channel: str, tmp_path: Any) -> None:
    (tmp_path / "events").write_text("1\n2\n")
    with (tmp_path / "events").open() as file:
        process = start(hub, "publish", channel, "-", stdin=file)
        _, errors = process.communicate(timeout=WITHIN_S)
    assert (process.returncode, errors.decode()) == (0, "2 published, 0 refused\n")


def test_who_reads_has_enough(hub: HubProcess, channel: str) -> None:
    """`hub listen ... | head -1`: the broken pipe is a good end, without a trace."""
    run(hub, "publish", channel, "-", given=b"1\n" * 2000)
    with start(hub, "listen", channel, "--since", "all") as listener:
        assert listener.stdout is not None
        assert listener.stderr is not None
        assert listener.stdout.readline()
        listener.stdout.close()
        assert b"Traceback" not in listener.stderr.read()
        assert listener.wait(WITHIN_S) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_well(hub: HubProcess, channel: str, number: signal.Signals) -> None:
    with start(hub, "listen", channel) as listener:
        until_said(listener, b"listening to")
        listener.send_signal(number)
        out, errors = listener.communicate(timeout=WITHIN_S)
    assert (listener.returncode, out) == (0, b"")
    assert b"Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (("publish", "/my/a", "{no"), 2, "expected JSON"),
        (("publish", "/my/*", "1"), 2, "one publishes on a channel, not on a pattern; got '/my/*'"),
        (("publish", "my", "1"), 2, "a channel is"),
        (
            ("publish", "/hub/x", "1"),
            1,
            "refused: /hub/x: only the server publishes on /hub and below it, whatever the role (403:denied:publish_denied)",
        ),
        (
            ("publish", "/my/a", "1", "--token", "wrong"),
            2,
            "403::handshake_denied: the hub does not let you in: log in (hub login --url http://localhost:",
        ),
        (("publish", "/my/a", "1", "--url", "localhost:8080"), 2, "expected http://"),
        (("listen", "/a/*/b"), 2, "* or ** may be the last segment; got '/a/*/b'"),
        (("listen", "/my/a", "--since", "yesterday"), 2, "expected all, new, or a position"),
        (("listen", "/my/a", "--transport", "smoke"), 2, "expected websocket or long-polling"),
        (("listen", "/hub/secret", "--token", ""), 2, "403::handshake_denied: the hub does not let you in"),
        (("listen", "/log/x", "--since", "5"), 1, "replayId {5}"),
    ],
)
def test_what_cannot_be_done_is_said(hub: HubProcess, arguments: tuple[str, ...], code: int, why: str) -> None:
    done = invoke(*arguments, environment={"HUB_URL": hub.url, "HUB_TOKEN": hub.token})
    assert (done.exit_code, done.stdout) == (code, "")
    assert why in " ".join(done.stderr.split())


def test_nobody_is_there(hub: HubProcess) -> None:
    with start(hub, "listen", "/my/a", "--url", f"http://127.0.0.1:{free_port()}") as listener:
        until_said(listener, b"nothing listens there")
        listener.terminate()
        assert listener.wait(WITHIN_S) == 0


@pytest.mark.parametrize(("data", "end"), [("1", b"nothing was published"), ("-", b"0 published, 0 refused")])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_while_nobody_is_there(hub: HubProcess, data: str, end: bytes, number: signal.Signals) -> None:
    """Nothing was published: the reason is said meanwhile, and a script must not go on as if it had been."""
    with start(hub, "publish", "/my/a", data, "--url", f"http://127.0.0.1:{free_port()}") as publisher:
        until_said(publisher, b"nothing listens there")
        publisher.send_signal(number)
        _, errors = publisher.communicate(timeout=WITHIN_S)
    assert publisher.returncode == 2
    assert end in errors
    assert b"Traceback" not in errors


def test_a_reader_that_is_stuck_holds_nothing_up(hub: HubProcess) -> None:
    """Nobody reads the pipe: the connection is kept all the same, and Ctrl-C ends the command."""
    with start(hub, "listen", "/my/flood") as listener:
        until_said(listener, b"listening")
        run(hub, "publish", "/my/flood", "-", given=b'"%b"\n' % (b"x" * 1000) * 300)
        listener.send_signal(signal.SIGINT)
        assert listener.wait(WITHIN_S) == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_disk_that_is_full(hub: HubProcess, channel: str) -> None:
    run(hub, "publish", channel, "1")
    environment = clean_environment({"HUB_URL": hub.url, "HUB_TOKEN": hub.token})
    with Path("/dev/full").open("wb") as full:
        command = [str(hub_command()), "listen", channel, "--since", "all"]
        done = subprocess.run(command, env=environment, stdout=full, stderr=subprocess.PIPE, timeout=WITHIN_S, check=False)
    assert done.returncode == 2
    assert b"standard output cannot be written: No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr


def test_ctrl_c_while_input_still_comes(hub: HubProcess) -> None:
    with start(hub, "publish", "/my/a", "-", stdin=subprocess.PIPE) as publisher:
        assert publisher.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            publisher.stdin.write(b'{"a":1}\n' * 50_000)
            publisher.send_signal(signal.SIGINT)
            publisher.stdin.write(b'{"a":1}\n' * 50_000)
        with contextlib.suppress(BrokenPipeError):
            publisher.stdin.close()
        assert publisher.wait(WITHIN_S) == 0
        assert publisher.stderr is not None
        said = publisher.stderr.read()
    assert b" published, 0 refused" in said
    assert b"Traceback" not in said


def test_json_that_is_nested_too_deeply(hub: HubProcess) -> None:
    done = invoke("publish", "/my/a", "[" * 3000 + "]" * 3000)
    assert done.exit_code == 2
    assert "nested too deeply" in " ".join(done.stderr.split())


@pytest.mark.parametrize("command", ["listen", "publish"])
def test_help_has_examples(command: str) -> None:
    assert f"hub {command} /" in invoke(command, "--help").stdout


def test_a_refusal_says_where_the_reason_is_told() -> None:
    """Only below the server's own channels nobody may publish; elsewhere another role may."""
    told = cli._reason(PublishError("/free/x", "403:denied:publish_denied"))
    assert told.endswith("`hub role list` says what each may, `hub access explain WHO publish /free/x` why this one may not")
    told = cli._reason(SubscribeError("/hub/**", "403:denied:subscribe_denied"))
    assert told.endswith("`hub access explain WHO subscribe '/hub/**'` why this one may not")
    assert "only the server publishes on /statistics" in cli._reason(PublishError("/statistics", "403:denied:publish_denied"))
    assert "give one whose role may" in cli._reason(PublishError("/statistics2/x", "403:denied:publish_denied"))
