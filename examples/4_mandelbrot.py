"""Step 4: compute the Mandelbrot set on all cores, with NumPy in each worker, and draw it by Matplotlib inside one."""

import sys

import numpy as np

import owngil

WIDTH, HEIGHT, MAX_ITER = 400, 400, 100


def mandelbrot(c, max_iter):
    z = 0
    n = 0
    while abs(z) <= 2 and n < max_iter:
        z = z**2 + c
        n += 1
    if n == max_iter:
        return max_iter
    return n + 1 - np.log(np.log2(abs(z)))


def rows(y):
    x = np.linspace(-2, 2, WIDTH)
    return np.array([[mandelbrot(complex(a, b), MAX_ITER) for a in x] for b in y], dtype=float)


def draw(image, path):
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    plt.imshow(image, cmap="hot", extent=(-2, 2, -2, 2), origin="lower")
    plt.colorbar()
    plt.title("Mandelbrot Set")
    plt.savefig(path)
    return image.shape


# Bands through the set take far longer than the others, so make many more bands than there are workers.
bands = np.array_split(np.linspace(-2, 2, HEIGHT), 40)
path = sys.argv[1] if len(sys.argv) > 1 else "mandelbrot_set.png"
with owngil.Pool() as pool:
    image = np.concatenate(list(pool.map(rows, bands, chunksize=1)))
    print(path, pool.submit(draw, image, path).result())
