"""The load of the bench of converting: calls between a page with Opus alone and a phone with PCMU alone."""
