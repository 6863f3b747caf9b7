#include "base/process_notes.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* a leaf */
static owngil_process_note *notes;                       /* guarded by `lock`; the caller of _take() frees them */

uint64_t
owngil_process_notes_get(const char *name)
{
    uint64_t value = 0;
    pthread_mutex_lock(&lock);
    for (const owngil_process_note *at = notes; at != NULL; at = at->next) {
        value = strcmp(at->name, name) == 0 ? at->value : value;
    }
    pthread_mutex_unlock(&lock);
    return value;
}

bool
owngil_process_notes_set(const char *name, uint64_t value)
{
    pthread_mutex_lock(&lock);
    owngil_process_note *entry = notes;
    while (entry != NULL && strcmp(entry->name, name) != 0) {
        entry = entry->next;
    }
    size_t size = strlen(name) + 1;
    if (entry == NULL && (entry = malloc(sizeof(*entry) + size)) != NULL) {
        memcpy(entry->name, name, size);
        entry->next = notes;
        notes = entry;
    }
    if (entry != NULL) {
        entry->value = value;
    }
    pthread_mutex_unlock(&lock);
    return entry != NULL;
}

owngil_process_note *
owngil_process_notes_take(void)
{
    pthread_mutex_lock(&lock);
    owngil_process_note *list = notes;
    notes = NULL;
    pthread_mutex_unlock(&lock);
    return list;
}

void
owngil_process_notes_atfork(owngil_atfork_step step)
{
    owngil_atfork_lock(step, &lock);
}
