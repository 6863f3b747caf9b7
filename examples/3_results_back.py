"""Step 3: get results back, over a channel or as the return value of a call."""

import owngil

channel = owngil.Channel()
code = """
print(f"input:{number}")
channel.send(number ** 2)
"""

with owngil.Interpreter() as it:
    it.exec(code, number=2, channel=channel)
    it.exec(code, number=3, channel=channel)
    print(channel.recv())
    print(channel.recv())
    print(it.call(pow, 4, 2))
