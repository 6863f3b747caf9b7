#include "base/ids.h"

#include <stdatomic.h>

static atomic_uint_fast64_t last;

uint64_t
owngil_ids_next(void)
{
    return (uint64_t)atomic_fetch_add(&last, 1) + 1;
}
