"""Empty: its models are those of its migrations."""
