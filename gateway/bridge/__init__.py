"""One call: a page leg and a SIP leg, their states, their end."""
