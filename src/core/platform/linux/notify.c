#include "platform/notify.h"

#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

int
owngil_notify_open(void)
{
    return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

void
owngil_notify_ring(int fd)
{
    const uint64_t one = 1;
    /* write() fails only when the counter is full, and then the loop is awake. */
    ssize_t ignored = write(fd, &one, sizeof(one));
    (void)ignored;
}

void
owngil_notify_silence(int fd)
{
    uint64_t count;
    ssize_t ignored = read(fd, &count, sizeof(count));
    (void)ignored;
}
