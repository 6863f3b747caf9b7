# pythran export draw()
# pythran export fail()
# pythran export total(float64[])

import random


def draw():
    return random.randint(0, 1_000_000)


def fail():
    raise ValueError("refused")


def total(array):
    result = 0.0
    for item in array:
        result += item
    return result
