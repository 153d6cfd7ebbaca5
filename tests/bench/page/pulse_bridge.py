"""The bridge of a design with sound cards, as small and quick as it can be: null sinks on one side, RTP on the other.

`python -m tests.bench.page.pulse_bridge PORT` prints its own port as a line of JSON and sends to PORT on loopback until
its standard input ends. PulseAudio's own `parec` and `pacat` hold the audio, asked for the least latency at which
they do not run dry.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from array import array
from typing import Final

from gateway.codecs.g711 import decode_ulaw, encode_ulaw
from gateway.protocol.rtp import HEADER, HEADER_BYTES

FRAME: Final = 160  # 20 ms at 8 kHz
FORMAT: Final = ("--raw", "--format=s16le", "--rate=8000", "--channels=1")
LATENCY: Final = ("--latency-msec=10", "--process-time-msec=5")
SPEAKER, MICROPHONE = "ponte_speaker", "ponte_microphone"


def up(line: socket.socket, target: tuple[str, int]) -> None:
    """From the page's speaker to RTP."""
    argv = ["parec", *FORMAT, *LATENCY, f"--device={SPEAKER}.monitor"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        number, waiting = 0, b""
        while more := process.stdout.read(2 * FRAME - len(waiting)):
            waiting += more
            if len(waiting) < 2 * FRAME:
                continue
            header = HEADER.pack(0x80, 0, number & 0xFFFF, number * FRAME & 0xFFFFFFFF, 0x50554C53)
            line.sendto(header + encode_ulaw(array("h", waiting)), target)
            number, waiting = number + 1, b""


def down(line: socket.socket) -> None:
    """From RTP to the page's microphone; PulseAudio's buffer is the jitter buffer."""
    argv = ["pacat", "--playback", *FORMAT, *LATENCY, f"--device={MICROPHONE}"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin is not None
        while True:
            packet = line.recv(2048)
            if len(packet) > HEADER_BYTES:
                process.stdin.write(decode_ulaw(packet[HEADER_BYTES:]).tobytes())


def main() -> None:
    """Run until standard input ends, which ends the children by closing their pipes."""
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    line.bind(("127.0.0.1", 0))
    for work, arguments in ((up, (line, ("127.0.0.1", int(sys.argv[1])))), (down, (line,))):
        threading.Thread(target=work, args=arguments, daemon=True).start()
    print(json.dumps({"port": line.getsockname()[1]}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
