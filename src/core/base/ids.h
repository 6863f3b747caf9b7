/* Numbers that are never used twice in this process. */
#pragma once

#include <stdint.h>

/* Returns a number that no earlier call has returned, from 1 up. */
uint64_t owngil_ids_next(void);
