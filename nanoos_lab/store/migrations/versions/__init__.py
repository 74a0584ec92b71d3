"""One module a version; each says what it changed and never changes again."""
