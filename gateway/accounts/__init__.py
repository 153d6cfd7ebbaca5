"""One account: configuration to registration, listener and page; supervises its parts."""
