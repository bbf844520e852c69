"""TOLD: what a person is told of their own data, in words, in a file of its own."""
