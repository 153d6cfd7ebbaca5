"""The interactive page of the API at ``/docs``: its build. The gateway serves what it leaves in ``build/docs``."""
