"""Values and pure functions. No clock, no chance, no I/O, no third party."""
