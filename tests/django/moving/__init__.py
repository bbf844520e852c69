"""An application whose one table a migration rebuilds."""
