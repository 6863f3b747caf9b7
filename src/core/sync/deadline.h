/* Until when a thread waits: a moment of owngil_clock_now(). */
#pragma once

#include "base/clock.h"

#include <stdint.h>

typedef int64_t owngil_deadline;

/* As long as it takes; and not at all: then a wait only looks whether it need not wait. */
#define OWNGIL_DEADLINE_NEVER INT64_MAX
#define OWNGIL_DEADLINE_NOW INT64_C(0)
