"""The only way out: HTTP calls, tokens, the queue's client, the clock."""
