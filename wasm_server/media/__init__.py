"""The WASM media module: C sources beside this file, and ``twin``, which says the same in Python."""
