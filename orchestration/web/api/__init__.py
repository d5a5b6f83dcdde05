"""The JSON API under /api/v1/: the same rights as the pages, with a bearer token in place of a session."""
