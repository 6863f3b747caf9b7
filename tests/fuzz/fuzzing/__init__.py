"""Parts of the fuzzing programs."""
