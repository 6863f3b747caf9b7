"""Step 2: pass data in. Anything that can be pickled goes, not only numbers and strings."""

import owngil

with owngil.Interpreter() as it:
    it.exec("print(message)", message="Hello, sub-interpreters")
    it.exec("print(message)", message="Hello, Den3")
    it.exec("print(*people, sep=', ')", people=["Ada", "Grace", {"name": "Barbara"}])
