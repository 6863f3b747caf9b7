/* A deadline: the moment, by owngil_clock_now(), until which a thread waits. */
#pragma once

#include "base/clock.h"

#include <stdint.h>

typedef int64_t owngil_deadline;

#define OWNGIL_DEADLINE_NEVER INT64_MAX /* wait as long as it takes */
#define OWNGIL_DEADLINE_NOW INT64_C(0)  /* do not wait */
