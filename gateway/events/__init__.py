"""What happens, told to whoever listens: the stored log, live subscribers, webhooks."""
