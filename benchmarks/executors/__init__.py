"""What ``owngil bench`` is made of: executors, what is measured in them, and how that is shown."""
