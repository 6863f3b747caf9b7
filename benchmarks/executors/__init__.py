"""What ``bench.py`` is made of: executors, what is measured in them, and how that is shown."""
