/* For LD_PRELOAD: a kernel without files in memory. */
#include <errno.h>

int
memfd_create(const char *name, unsigned int flags)
{
    (void)name;
    (void)flags;
    errno = ENOSYS;
    return -1;
}
