"""HTTP calls that take minutes to a day, never lost track of."""

__version__ = "0.1.0"
