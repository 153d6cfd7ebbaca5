"""Page drivers: the calls of a web client as commands and events."""
