"""What runs in a worker: its loop, and its half of what travels beside results."""
