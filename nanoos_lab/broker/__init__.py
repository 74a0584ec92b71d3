"""Delivery and the live channel: everything that talks to the Redis-compatible server."""
