import asyncio
import operator

import pytest

import owngil


def test_run():
    assert owngil.run(pow, 2, 10) == 1024
    with pytest.raises(ZeroDivisionError):
        owngil.run(lambda: 1 / 0)


def test_map():
    assert list(owngil.map(operator.add, [1, 2], [3, 4], chunksize=2)) == [4, 6]


def test_to_interpreter_does_not_block_the_loop():
    async def main():
        gate = owngil.Channel()
        waiting = asyncio.create_task(owngil.to_interpreter(gate.recv))
        await asyncio.sleep(0)
        gate.send("open")
        assert await waiting == "open"
        with pytest.raises(ZeroDivisionError):
            await owngil.to_interpreter(lambda: 1 / 0)
        assert await asyncio.gather(*(owngil.to_interpreter(abs, -k) for k in range(10))) == list(range(10))

    asyncio.run(main())
