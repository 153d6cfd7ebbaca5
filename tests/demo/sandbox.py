"""``python -m tests.demo.sandbox``: everything on loopback, configured by nobody yet, until Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.demo.call import PHONE_TEXT
from tests.demo.world import GUEST, GUEST_PASSWORD, PHONE, Ports, World, WorldError, WorldOptions, world
from tests.support.audio import speech, write_wav
from tests.support.baresip import PORTS_NEEDED, SAMPLE_RATE_HZ, PhoneError
from tests.support.ports import LOOPBACK, free_ports
from tests.support.processes import ProcessFailed

DEFAULT_KEY: Final = "sandbox-key"
PHONE_CONTROL: Final = "phone_control"

# By the name in Ports: the variable that moves it, and where it is otherwise.
PORT_VARIABLES: Final[Mapping[str, tuple[str, int]]] = {
    "api": ("PONTE_API_PORT", 8080),
    "control": ("PONTE_STANDIN_CONTROL_PORT", 8090),
    "wasm": ("PONTE_WASM_PORT", 9080),
    "cdp": ("PONTE_HELPER_CDP_PORT", 9223),
    "helper": ("PONTE_HELPER_PORT", 3000),
    "sip": ("PONTE_SANDBOX_SIP_PORT", 5080),
    "pbx": ("PONTE_SANDBOX_PBX_PORT", 5070),
    PHONE_CONTROL: ("PONTE_SANDBOX_PHONE_PORT", 4444),
}


class SandboxError(Exception):
    """The sandbox cannot start; the sentence says what to do."""


def ports_of(environment: Mapping[str, str]) -> Ports:
    """Where everything is to listen.

    Args:
        environment: the variables of :data:`PORT_VARIABLES`, where they are set.

    Raises:
        SandboxError: a variable is no port, or two name the same one.
    """
    found: dict[str, int] = {}
    for name, (variable, default) in PORT_VARIABLES.items():
        text = environment.get(variable) or str(default)
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
            raise SandboxError(f"{variable} is {text!r}: set it to a port from 1 to 65535, or leave it out")
        found[name] = int(text)
    for name, port in found.items():
        others = [PORT_VARIABLES[other][0] for other, taken in found.items() if taken == port and other != name]
        if others:
            raise SandboxError(f"{PORT_VARIABLES[name][0]} and {others[0]} are both {port}: move one of them")
    first = free_ports(40 + PORTS_NEEDED)
    return Ports(**found, rtp=range(first, first + 40), phone=first + 40)


def curl(here_port: int, key: str, body: Mapping[str, object]) -> str:
    """The command that configures the bridge, as it can be pasted into a shell."""
    return (
        f"curl -X POST 'http://{LOOPBACK}:{here_port}/call/bridge/config' \\\n"
        f"-H 'Authorization: Bearer {key}' \\\n"
        "-H 'Content-Type: application/json' \\\n"
        f"-d '{json.dumps(body, indent=2)}'"
    )


async def instructions(here: World) -> str:
    """What a person at the terminal can do now."""
    ports, key = here.options.ports, here.key
    api, control = f"http://{LOOPBACK}:{ports.api}", here.far_end.url
    return f"""
Everything is up. Configure the bridge:

{curl(ports.api, key, await here.configuration())}

See how it is:

curl -H 'Authorization: Bearer {key}' {api}/call/bridge/status

Call the WhatsApp number; phone {PHONE} answers by itself and speaks:

curl -X POST {control}/ring -H 'Content-Type: application/json' -d '{{"from": "+5511988887777", "name": "Maria"}}'
curl -X POST {control}/say -H 'Content-Type: application/json' -d '{{"tone_hz": 437, "seconds": 3}}'
curl -o heard.wav '{control}/heard.wav?seconds=10'
curl -X POST {control}/hangup

Call a WhatsApp user from phone {PHONE}, and take the call there:

.venv/bin/python -m tests.demo.phone dial +5511977776666
curl -X POST {control}/answer
.venv/bin/python -m tests.demo.phone hangup

PBX: sip:{here.pbx.address}; for a phone of your own: user {GUEST}, password {GUEST_PASSWORD}, UDP or TCP, PCMU or PCMA.
Phone {PHONE} keeps what it hears in {here.phone.recordings}
Token of helper and CDP port: {here.token}
Logs: {here.options.folder}/*.log

Ctrl-C ends everything.
"""


def _greeting(path: Path) -> None:
    # Longer than any call, as the phone has nothing to send after its end.
    write_wav(path, speech(PHONE_TEXT, SAMPLE_RATE_HZ, seconds=600), SAMPLE_RATE_HZ)


def _refuse_taken(ports: Ports) -> None:
    for name, (variable, _) in PORT_VARIABLES.items():
        port = getattr(ports, name)
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((LOOPBACK, port))
            except OSError:
                raise SandboxError(
                    f"port {port} of {LOOPBACK} is in use by another program: stop that, or set {variable}"
                ) from None


async def _sandbox() -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    ports = ports_of(os.environ)
    _refuse_taken(ports)
    with tempfile.TemporaryDirectory(prefix="ponte-sandbox-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        options = WorldOptions(
            folder, ports, key=os.environ.get("PONTE_API_KEY") or DEFAULT_KEY, tap=False,
            token=os.environ.get("PONTE_HELPER_TOKEN"),
        )  # fmt: skip
        async with world(options, lambda text: print(f"starting {text}", flush=True)) as here:
            greeting = folder / "greeting.wav"
            await asyncio.to_thread(_greeting, greeting)
            here.phone.play(greeting)
            print(await instructions(here), flush=True)
            await here.gateway.wait_end(timeout_s=None)
            raise SandboxError(f"the gateway ended by itself; its last words:\n{here.gateway.tail()}")


def main() -> int:
    """Run until Ctrl-C."""
    try:
        asyncio.run(_sandbox())
    except asyncio.CancelledError:
        print("\neverything has ended")
        return 0
    except (OSError, PhoneError, ProcessFailed, SandboxError, TimeoutError, WorldError) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
