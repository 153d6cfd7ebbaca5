"""What holds for every test."""

from __future__ import annotations

import os

# Settings of a gateway of the caller's own must not reach the gateways that tests start; those that tests themselves
# look at stay.
for _name in [name for name in os.environ if name.startswith("PONTE_") and not name.startswith("PONTE_TEST_")]:
    del os.environ[_name]
