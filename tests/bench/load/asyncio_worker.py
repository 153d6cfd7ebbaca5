"""A media worker on the standard library's event loop, to compare uvloop with."""

from __future__ import annotations

import asyncio

from gateway.worker.__main__ import main

if __name__ == "__main__":
    main(asyncio.run)
