"""``python -m tests.demo.phone dial +5511977776666``: tell the sandbox's phone what to do."""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys

from tests.demo.sandbox import PHONE_CONTROL, PORT_VARIABLES
from tests.support.ports import LOOPBACK


def command(port: int, name: str, params: str, *, timeout_s: float = 5) -> str:
    """Give baresip one command and return what it answers.

    Raises:
        OSError: nothing listens there, or it does not answer.
    """
    message = json.dumps({"command": name, "params": params, "token": "sandbox"}).encode()
    with socket.create_connection((LOOPBACK, port), timeout=timeout_s) as line:
        line.sendall(b"%d:%s," % (len(message), message))
        received = b""
        while True:
            length, colon, rest = received.partition(b":")
            if colon and len(rest) > int(length):
                answer = json.loads(rest[: int(length)])
                received = rest[int(length) + 1 :]
                if answer.get("response"):
                    return str(answer.get("data", ""))
                continue
            part = line.recv(4096)
            if not part:
                raise OSError("the phone closed the connection")
            received += part


def main() -> int:
    """Parse the command line and give the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo.phone", description=__doc__)
    parser.add_argument("command", choices=("dial", "hangup", "listcalls"))
    parser.add_argument("number", nargs="?", default="", help="number with country code, or an extension")
    arguments = parser.parse_args()
    variable, default = PORT_VARIABLES[PHONE_CONTROL]
    params = arguments.number
    if arguments.command == "dial":
        if not params:
            parser.error("dial needs a number")
        params = params if params.startswith("sip:") else f"sip:{params}@{LOOPBACK}:{_pbx_port()}"
    try:
        print(command(int(os.environ.get(variable) or default), arguments.command, params).strip())
    except OSError as error:
        print(f"phone: {error}; is `make sandbox` running?", file=sys.stderr)
        return 1
    return 0


def _pbx_port() -> str:
    variable, default = PORT_VARIABLES["pbx"]
    return os.environ.get(variable) or str(default)


if __name__ == "__main__":
    sys.exit(main())
