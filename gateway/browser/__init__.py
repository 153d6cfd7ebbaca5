"""Chrome over CDP: connection, target discovery, injection, the node helper's client."""
