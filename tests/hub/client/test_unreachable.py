"""Why a server cannot be reached, and what to do."""

from __future__ import annotations

import subprocess

from hub.client.unreachable import NEXT_STEP
from tests.support.hub_process import HUB_COMMAND, clean_environment, free_port


def test_a_command_without_a_hub_names_the_url_and_what_to_do() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    command = [str(HUB_COMMAND), "listen", "/my/**", "--url", url, "--transport", "long-polling"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=clean_environment()) as listening:
        assert listening.stderr is not None
        said = []
        while not any(NEXT_STEP in line for line in said):
            line = listening.stderr.readline()
            assert line, said
            said.append(line)
        listening.terminate()
    text = "".join(said)
    assert f"{url}/cometd: nothing listens there: Connection refused" in text
    assert "ssl:default" not in text
