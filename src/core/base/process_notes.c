#include "base/process_notes.h"

#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* a leaf */
static owngil_process_note *notes;                       /* guarded by `lock` */

/* Returns the process note of that name, or NULL. Needs the lock. */
static owngil_process_note *
find_note(const char *name)
{
    owngil_process_note *note = notes;
    while (note != NULL && strcmp(note->name, name) != 0) {
        note = note->next;
    }
    return note;
}

uint64_t
owngil_process_notes_get(const char *name)
{
    pthread_mutex_lock(&lock);
    const owngil_process_note *note = find_note(name);
    uint64_t value = note != NULL ? note->value : 0;
    pthread_mutex_unlock(&lock);
    return value;
}

bool
owngil_process_notes_set(const char *name, uint64_t value)
{
    pthread_mutex_lock(&lock);
    owngil_process_note *note = find_note(name);
    size_t size = strlen(name) + 1;
    if (note == NULL && (note = malloc(sizeof(*note) + size)) != NULL) {
        memcpy(note->name, name, size);
        note->next = notes;
        notes = note;
    }
    if (note != NULL) {
        note->value = value;
    }
    pthread_mutex_unlock(&lock);
    return note != NULL;
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
