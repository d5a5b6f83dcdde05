"""The rules: values in, values out. No Django, clock, randomness, network or disk."""
