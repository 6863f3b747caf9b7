"""Step 2: pass data in. You can pass anything that can be pickled, not only numbers and strings."""

import owngil

with owngil.Interpreter() as it:
    it.exec("print(message)", message="Hello, sub-interpreters")
    it.exec("print(message)", message="Hello, Den3")
    it.exec("print(*people, sep=', ')", people=["Ada", "Grace", {"name": "Barbara"}])
