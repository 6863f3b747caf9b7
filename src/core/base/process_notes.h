/* Process notes: numbers with a name that belong to the process. Python code of all interpreters reads and writes
 * them. */
#pragma once

#include "base/atfork.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct owngil_process_note {
    struct owngil_process_note *next;
    uint64_t value;
    char name[];
} owngil_process_note;

/* Returns the value, or 0 if there is no process note of that name. */
uint64_t owngil_process_notes_get(const char *name);

/* Returns false when there is no memory. */
bool owngil_process_notes_set(const char *name, uint64_t value);

/* Removes all process notes and returns them as a list. The caller frees each. */
owngil_process_note *owngil_process_notes_take(void);

void owngil_process_notes_atfork(owngil_atfork_step step);
