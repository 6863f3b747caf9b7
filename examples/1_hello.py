"""Step 1: run code in another interpreter."""

import owngil

with owngil.Interpreter() as it:
    it.exec('print("Hello, sub-interpreters")')
