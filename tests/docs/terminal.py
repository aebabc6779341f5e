"""A reader's terminals: one shell in which the blocks of a page are typed one after the other, and one more for each that goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tests.docs.examples import Example

BLOCK_S: Final = 120.0
"""How long one block may take on a machine that does much else."""

STOP_S: Final = 30.0
"""How long what a block left running may take to end."""

_REFUSED: Final = re.compile(r'"code": ?[45]\d\d|"successful": ?false|^Traceback |"message": ?"Forbidden"', re.MULTILINE)
"""What an answer holds that says it failed: curl ends with 0 all the same."""


class ExampleError(AssertionError):
    """A block did not do what its page says; the text has its place, what was expected, and all that it printed."""


class Terminal:
    """One bash for a page, in a folder of its own. Variables that a block sets are there for the next one."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self._start = dict(environment)
        self._count = 0
        self._others: list[subprocess.Popen[bytes]] = []
        # -a: what a block sets is seen by what runs in a terminal of its own, too
        self._shell = _bash(["-a"], folder, environment, stdin=subprocess.PIPE)

    def run(self, example: Example, text: str) -> str:
        """Type a block whose text is ``text``; returns what it printed, until now where it goes on.

        Raises:
            ExampleError: it ended with another exit code than the page says, printed that it was refused, or did not print in time what
                it must.
        """
        self._count += 1
        script, output = self.folder / f".block-{self._count}", self.folder / f".output-{self._count}"
        script.write_text(text)
        if example.directives.keys() & {"background", "until"}:
            printed = self._in_background(example, script, output)
        else:
            code = self._in_foreground(example, f". {script} < /dev/null > {output} 2>&1", output)
            printed = _read(output)
            wanted = int(example.directives.get("exit", "0"))
            if code != wanted:
                raise ExampleError(f"{example.place} ended with {code}, expected {wanted}; it printed:\n{printed}")
        check_output(example, printed)
        return printed

    def meanwhile(self, example: Example) -> Iterator[None]:
        """Each step runs the command that the page's comment names, if it names one: what the block waits for."""
        command = example.directives.get("meanwhile")
        while True:
            if command is not None:
                done = subprocess.run(
                    ["bash", "-c", command], cwd=self.folder, env=self._now(), capture_output=True, text=True, check=False
                )
                if done.returncode:
                    raise ExampleError(f"{example.place}: `{command}` ended with {done.returncode}:\n{done.stdout}{done.stderr}")
            yield

    def stop_others(self) -> None:
        """End what goes on in terminals of its own, as Ctrl-C does."""
        for process in self._others:
            _signal_group(process, signal.SIGINT)
        for process in self._others:
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                _signal_group(process, signal.SIGKILL)
                process.wait()
            # a member of a pipe may ignore Ctrl-C
            _signal_group(process, signal.SIGKILL)
        self._others.clear()

    def close(self) -> None:
        """End the page's shell and what its blocks left running."""
        self.stop_others()
        _signal_group(self._shell, signal.SIGKILL)
        self._shell.communicate()

    def _in_foreground(self, example: Example, command: str, output: Path) -> int:
        """Run in the shell itself, so that variables stay; returns the exit code of the last command that failed, else 0."""
        ended = self.folder / f".ended-{self._count}"
        # a trap, not `set -e`: that would end the reader's shell
        line = f"set -o pipefail -o errtrace; failed=0; trap 'failed=$?' ERR; {command}; trap - ERR; env -0 > {self._environment}"
        assert self._shell.stdin is not None
        self._shell.stdin.write(f"{line}; echo $failed > {ended}.new; mv {ended}.new {ended}\n".encode())
        self._shell.stdin.flush()
        until = time.monotonic() + BLOCK_S
        while not ended.exists():
            over = self._shell.poll() is not None
            if over or time.monotonic() > until:
                why = "ended the shell" if over else f"did not end within {BLOCK_S:.0f} s"
                raise ExampleError(f"{example.place} {why}; it printed:\n{_read(output)}")
            time.sleep(0.02)
        return int(ended.read_text())

    @property
    def _environment(self) -> Path:
        return self.folder / ".environment"

    def _now(self) -> dict[str, str]:
        """The environment of the shell behind the last block, with what blocks set."""
        if not self._environment.exists():
            return self._start
        pairs = (pair.partition("=") for pair in self._environment.read_text().split("\0") if pair)
        return {name: value for name, _, value in pairs}

    def _in_background(self, example: Example, script: Path, output: Path) -> str:
        self._in_foreground(example, ":", output)
        with output.open("wb") as out:
            command = ["-eo", "pipefail", str(script)]
            process = _bash(command, self.folder, self._now(), stdin=subprocess.DEVNULL, stdout=out)
        self._others.append(process)
        wanted = re.compile(example.directives.get("until", ""), re.MULTILINE | re.DOTALL)
        until = time.monotonic() + BLOCK_S
        meanwhile = self.meanwhile(example)
        while time.monotonic() < until:
            over = process.poll() is not None
            if wanted.search(printed := _read(output)):
                return printed
            if over:
                raise ExampleError(f"{example.place} ended with {process.returncode} before /{wanted.pattern}/; it printed:\n{printed}")
            next(meanwhile)
            time.sleep(0.05)
        raise ExampleError(f"{example.place} did not print /{wanted.pattern}/ within {BLOCK_S:.0f} s; it printed:\n{_read(output)}")


def check_output(example: Example, printed: str) -> None:
    """Whether a block printed what its page says.

    Raises:
        ExampleError: it did not.
    """
    wanted = example.directives.get("expect")
    if wanted is not None:
        if not re.search(wanted, printed, re.MULTILINE | re.DOTALL):
            raise ExampleError(f"{example.place}: expected /{wanted}/ in what it prints, got:\n{printed}")
    elif _REFUSED.search(printed):
        raise ExampleError(f"{example.place}: expected no refusal, got:\n{printed}")


def _bash(
    arguments: list[str], folder: Path, environment: Mapping[str, str], *, stdin: int, stdout: object = subprocess.PIPE
) -> subprocess.Popen[bytes]:
    """A bash whose processes are a group of their own, so that they can be ended together."""
    return subprocess.Popen(
        ["bash", "--noprofile", "--norc", *arguments],
        cwd=folder,
        env=dict(environment),
        stdin=stdin,
        stdout=stdout,  # type: ignore[call-overload]  # a file or a constant
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass  # all of it has ended


def _read(output: Path) -> str:
    return output.read_text(errors="replace") if output.exists() else ""
