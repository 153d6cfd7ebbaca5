"""``python -m wasm_server``: serves the page bundle and the WASM media module until it is told to stop."""

from __future__ import annotations

import argparse
from pathlib import Path

import uvicorn

from wasm_server.app import create_app
from wasm_server.build import default_directory


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m wasm_server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=9080, help="port to listen on; the seed's wasmServerPort")
    parser.add_argument("--directory", type=Path, default=default_directory(), help="where the build left its files")
    arguments = parser.parse_args()
    uvicorn.run(
        create_app(arguments.directory), host=arguments.host, port=arguments.port, log_level="warning", lifespan="off"
    )


if __name__ == "__main__":
    main()
