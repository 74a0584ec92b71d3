"""Adapters that run programs. An engine knows core and its context, and has never heard of SQL or Redis."""
