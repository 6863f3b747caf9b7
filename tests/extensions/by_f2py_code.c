/* The C functions that by_f2py.pyf wraps. */

static int count = 0;

int
bump(void)
{
    return ++count;
}

double
total(int size, const double *items)
{
    double sum = 0;
    for (int i = 0; i < size; i++) {
        sum += items[i];
    }
    return sum;
}
