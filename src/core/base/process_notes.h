/* Numbers that the process keeps under a name, for Python code of all its interpreters. */
#pragma once

#include "base/atfork.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct owngil_process_note {
    struct owngil_process_note *next;
    uint64_t value;
    char name[];
} owngil_process_note;

/* Returns 0 if there is no note of that name. */
uint64_t owngil_process_notes_get(const char *name);

/* Returns false when there is no memory. */
bool owngil_process_notes_set(const char *name, uint64_t value);

/* Takes all notes away and returns them as a list. The caller frees each. */
owngil_process_note *owngil_process_notes_take(void);

void owngil_process_notes_atfork(owngil_atfork_step step);
