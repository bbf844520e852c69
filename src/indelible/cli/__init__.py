"""The command line: one module a command, loaded when it is called."""

from indelible.cli.app import main

__all__ = ["main"]
