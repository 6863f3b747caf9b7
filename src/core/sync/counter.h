/* A process-wide number that threads of any interpreter may change. No function needs a GIL, see waitable.h. */
#pragma once

#include "base/refcount.h"

#include <stdint.h>

typedef struct {
    owngil_refcounted base;
    _Atomic int64_t value;
} owngil_counter;

/* Returns a new counter with one reference, or NULL without memory. */
owngil_counter *owngil_counter_new(int64_t value);

/* Adds `n`, and stores the sum in *value. Returns false and changes nothing if the sum does not fit. */
bool owngil_counter_add(owngil_counter *self, int64_t n, int64_t *value);
