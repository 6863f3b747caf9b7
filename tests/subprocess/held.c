/* A library whose constructor waits for the file that AWAITED names in the environment. Its function make_and_await()
 * waits for a file, and keeps the GIL meanwhile if ctypes.PyDLL calls it. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void
make(const char *path)
{
    FILE *file = fopen(path, "w");
    if (file != NULL) {
        fclose(file);
    }
}

static void
await(const char *path)
{
    while (access(path, F_OK) != 0) {
        usleep(1000);
    }
}

void
make_and_await(const char *made, const char *awaited)
{
    make(made);
    await(awaited);
}

__attribute__((constructor)) static void
begin(void)
{
    if (getenv("AWAITED") != NULL) {
        make_and_await(getenv("BEGUN"), getenv("AWAITED"));
    }
}
