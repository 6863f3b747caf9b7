/* A library with phases in which a fork must not happen.
 *
 * Its constructor and its destructor make the files "constructor-begun", "constructor-done" and so on, in the folder
 * NOTES of the environment. Between the two they wait for the file "constructor-go", and a while longer: the test makes
 * that file and then forks.
 *
 * The library also imitates OpenBLAS. Loading it starts (pretended) threads and registers a handler that ends them
 * before a fork, and takes a while. Setting their number starts them again. A forked child that still has them exits
 * with 13, where OpenBLAS would wait for them.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { WHILE = 200, MILLISECOND = 1000 };

static atomic_int has_threads;
static pid_t owner;

static void
note(const char *what, const char *stage)
{
    const char *folder = getenv("NOTES");
    char path[1000];
    FILE *file = NULL;
    if (folder != NULL) {
        snprintf(path, sizeof(path), "%s/%s-%s", folder, what, stage);
        file = fopen(path, "w");
    }
    if (file != NULL) {
        fclose(file);
    }
}

static void
take_a_while(const char *what)
{
    const char *folder = getenv("NOTES");
    char go[1000];
    if (folder != NULL) {
        note(what, "begun");
        snprintf(go, sizeof(go), "%s/%s-go", folder, what);
        while (access(go, F_OK) != 0) {
            usleep(MILLISECOND);
        }
        usleep(WHILE * MILLISECOND);
    }
}

void
openblas_set_num_threads(int number)
{
    atomic_store(&has_threads, number > 0);
}

static void
end_threads(void)
{
    atomic_store(&has_threads, 0);
    for (int k = 0; k < WHILE && !atomic_load(&has_threads); k++) {
        usleep(MILLISECOND);
    }
}

__attribute__((constructor)) static void
begin(void)
{
    take_a_while("constructor");
    owner = getpid();
    pthread_atfork(end_threads, NULL, NULL);
    atomic_store(&has_threads, 1);
    note("constructor", "done");
}

__attribute__((destructor)) static void
end(void)
{
    if (getpid() != owner && atomic_load(&has_threads)) {
        _exit(13);
    }
    take_a_while("destructor");
    note("destructor", "done");
}
