"""The user's Python API."""
