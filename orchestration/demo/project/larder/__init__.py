"""A recipe book for the terminal."""
