"""WHAT HAPPENED: the event, its values, its bytes, and who is acting. Pure."""
