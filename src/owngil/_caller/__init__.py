"""The caller's half of what travels beside results: printed text, log records, warnings, exceptions, settings."""
