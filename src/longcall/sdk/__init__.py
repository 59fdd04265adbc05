"""For Python callers."""
