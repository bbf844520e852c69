"""SAID: application logs: what may stand in them, what gives something away."""
