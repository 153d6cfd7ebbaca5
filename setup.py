"""Compile the packet path with mypyc, from the same Python source that runs where it is not compiled.

What is named here is what every packet of a call passes; compiled it takes two thirds of the processor time
(docs/media.md). Nothing else differs: without mypy, without a C compiler, or with PONTE_COMPILE=0 in the environment,
Ponte is installed as plain Python.
"""

import os
import sys

from setuptools import Extension, setup

PACKET_PATH = (
    "gateway/protocol/dtmf.py",
    "gateway/protocol/rtp.py",
    "gateway/media/ear.py",
    "gateway/media/keys.py",
    "gateway/media/lock.py",
    "gateway/media/path.py",
    "gateway/media/session.py",
    "gateway/media/sockets.py",
    "gateway/media/srtp.py",
    "gateway/media/tap.py",
    "gateway/media/udp_link.py",
    "gateway/webrtc/datagrams.py",
)


def extensions() -> list[Extension]:
    """Return what is to be compiled; nothing where that is not wanted or cannot be done."""
    if os.environ.get("PONTE_COMPILE") == "0":
        return []
    try:
        from mypyc.build import mypycify
    except ImportError:
        print("mypy is not here: the packet path stays interpreted", file=sys.stderr)
        return []
    # Packages whose types are not here (in a build of its own environment none is) count as untyped.
    found: list[Extension] = mypycify(
        ["--ignore-missing-imports", "--no-warn-return-any", *PACKET_PATH], group_name="gateway.packet_path"
    )
    for extension in found:
        extension.optional = True  # no compiler: interpreted
    return found


setup(ext_modules=extensions())
