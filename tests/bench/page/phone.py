"""A phone without SIP: G.711 both ways, each packet with the instant at which it was on the wire.

`python -m tests.bench.page.phone` prints its port as a line of JSON, then takes one order a line, `{"to": [host, port],
"said": "said.npy", "kept": "kept.npz", "ptime_ms": 20, "seconds": 10}`: `said` is mu-law, one byte a sample, sent
from the start and once over; `kept` gets what came and went. Instants are of the wall clock, which the page's marks
have too: the kernel's for what comes, and that of the system call for what goes.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from gateway.protocol.rtp import HEADER, HEADER_BYTES

RATE_HZ: Final = 8000
SILENCE: Final = 0xFF
_TIMESTAMPNS: Final = 35  # SO_TIMESTAMPNS and its message, which Python has no name for
_SOCKET: Final = socket.SOL_SOCKET


class Phone:
    """One socket, one thread for each direction while it talks."""

    def __init__(self) -> None:
        """Bind to a free port."""
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setsockopt(_SOCKET, _TIMESTAMPNS, 1)
        self.socket.settimeout(0.2)
        self.sequence = 0
        self.timestamp = 0

    def talk(self, order: dict[str, Any]) -> None:
        """Send and receive for the time ordered; keep both."""
        ended = threading.Event()
        came: list[tuple[float, int, int, bytes]] = []
        receiving = threading.Thread(target=self._receive, args=(came, ended))
        receiving.start()
        sent = self._send(order)
        time.sleep(0.3)  # what is still on its way
        ended.set()
        receiving.join()
        np.savez(
            order["kept"],
            sent_s=np.array([at for at, _ in sent]),
            sent_timestamp=np.array([timestamp for _, timestamp in sent], dtype=np.int64),
            came_s=np.array([at for at, *_ in came]),
            came_sequence=np.array([sequence for _, sequence, *_ in came], dtype=np.int64),
            came_timestamp=np.array([timestamp for _, _, timestamp, _ in came], dtype=np.int64),
            came_bytes=np.array([len(payload) for *_, payload in came], dtype=np.int64),
            came=np.frombuffer(b"".join(payload for *_, payload in came), dtype=np.uint8),
        )

    def _send(self, order: dict[str, Any]) -> list[tuple[float, int]]:
        frame = RATE_HZ * int(order["ptime_ms"]) // 1000
        said = np.load(order["said"]).tobytes()
        target = (order["to"][0], int(order["to"][1]))
        sent: list[tuple[float, int]] = []
        step_s = frame / RATE_HZ / (1 + float(order.get("ppm", 0)) * 1e-6)
        start = time.monotonic()
        for number in range(int(float(order["seconds"]) / step_s)):
            wait_s = start + number * step_s - time.monotonic()
            if wait_s > 0:
                time.sleep(wait_s)
            payload = said[number * frame : (number + 1) * frame]
            payload += bytes([SILENCE]) * (frame - len(payload))
            header = HEADER.pack(0x80, 0, self.sequence & 0xFFFF, self.timestamp & 0xFFFFFFFF, 0x5150)
            sent.append((time.time(), number * frame))
            self.socket.sendto(header + payload, target)
            self.sequence += 1
            self.timestamp += frame
        return sent

    def _receive(self, came: list[tuple[float, int, int, bytes]], ended: threading.Event) -> None:
        while not ended.is_set():
            try:
                packet, ancillary, _, _ = self.socket.recvmsg(2048, 128)
            except TimeoutError:
                continue
            at_s = time.time()
            for level, kind, data in ancillary:
                if level == _SOCKET and kind == _TIMESTAMPNS:
                    seconds, nanoseconds = struct.unpack_from("qq", data)
                    at_s = seconds + nanoseconds / 1e9
            if len(packet) > HEADER_BYTES and packet[1] & 0x7F == 0:
                _, _, sequence, timestamp, _ = HEADER.unpack_from(packet)
                came.append((at_s, sequence, timestamp, packet[HEADER_BYTES:]))


def main() -> None:
    """Follow orders until there are no more."""
    phone = Phone()
    print(json.dumps({"port": phone.socket.getsockname()[1]}), flush=True)
    for line in sys.stdin:
        phone.talk(json.loads(line))
        print(json.dumps({"done": Path(json.loads(line)["kept"]).name}), flush=True)


if __name__ == "__main__":
    main()
