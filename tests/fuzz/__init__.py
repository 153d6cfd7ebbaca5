"""Looks for bytes that break what reads the network: `make fuzz`, and for some seconds in `make test`."""
