"""Tasks: their futures, the threads that resolve these, and the workers that run them."""
