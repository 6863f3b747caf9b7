/* Numbers that are never used twice in this process. */
#pragma once

#include <stdint.h>

/* Returns 1 at the first call, and one more at each later call. */
uint64_t owngil_ids_next(void);
