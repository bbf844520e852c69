"""What a statement reads: a text and a schema in, a `Plan` out. Pure."""
