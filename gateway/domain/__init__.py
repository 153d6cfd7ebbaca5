"""Ids, states, terminations, phone numbers, errors. Pure: imports nothing of the gateway."""
