"""Sans-IO cores: bytes and the time come in, bytes and events go out; no sockets, no clocks."""
