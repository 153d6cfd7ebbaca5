"""Where the sandbox listens, and the command that it prints."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.demo.sandbox import DEFAULT_KEY, PORT_VARIABLES, SandboxError, curl, ports_of

pytestmark = pytest.mark.unit

README = (Path(__file__).resolve().parents[3] / "README.md").read_text()


def test_the_usual_ports() -> None:
    ports = ports_of({})
    assert (ports.api, ports.control, ports.wasm, ports.cdp, ports.helper, ports.sip) == (
        8080, 8090, 9080, 9223, 3000, 5080
    )  # fmt: skip
    assert len(ports.rtp) == 40


@pytest.mark.parametrize("name", PORT_VARIABLES)
def test_each_port_can_be_moved_by_its_variable_that_the_readme_lists(name: str) -> None:
    variable, default = PORT_VARIABLES[name]
    assert getattr(ports_of({variable: "12345"}), name) == 12345
    assert re.search(rf"`{variable}`.*\b{default}\b", README)


def test_the_readme_names_the_key() -> None:
    assert f"`{DEFAULT_KEY}`" in README
    assert "`PONTE_API_KEY`" in README


@pytest.mark.parametrize("bad", ["x", "0", "65536", "-1", "80 80", "٣٠٠٠"])
def test_a_bad_port_is_one_sentence_with_its_variable(bad: str) -> None:
    with pytest.raises(SandboxError, match="PONTE_HELPER_PORT is"):
        ports_of({"PONTE_HELPER_PORT": bad})


def test_two_things_on_one_port_are_refused() -> None:
    with pytest.raises(SandboxError, match="both 8080"):
        ports_of({"PONTE_WASM_PORT": "8080"})


def test_the_printed_command_is_one_command_with_the_body() -> None:
    body = {"enabled": True, "sipServer": "127.0.0.1:5070", "nodeRemoteHelper": ""}
    words = shlex.split(curl(8080, "sandbox-key", body).replace("\\\n", " "))
    assert words[:4] == ["curl", "-X", "POST", "http://127.0.0.1:8080/call/bridge/config"]
    assert "Authorization: Bearer sandbox-key" in words
    assert json.loads(words[words.index("-d") + 1]) == body
