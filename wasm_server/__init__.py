"""What runs inside Chrome's page: the bundle, the WASM media module, how both are built, and how they are served."""
