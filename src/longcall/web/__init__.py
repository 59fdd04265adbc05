"""The ASGI edge: parse, call the engine, render."""
