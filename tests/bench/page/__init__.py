"""What the benches of the page's audio have in common: a phone, a page in a call, the same by PulseAudio."""
