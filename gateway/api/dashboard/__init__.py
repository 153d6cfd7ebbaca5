"""The dashboard: TypeScript, bundled by `build`."""
