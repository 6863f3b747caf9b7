"""The public API; `owngil` re-exports it by name."""
