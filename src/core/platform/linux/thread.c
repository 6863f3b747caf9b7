#include "platform/thread.h"

#include "base/clock.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

bool
owngil_thread_is_main(void)
{
    return owngil_thread_id() == getpid();
}

pid_t
owngil_thread_id(void)
{
    return (pid_t)syscall(SYS_gettid); /* glibc has gettid() only since 2.30 */
}

pid_t
owngil_thread_id_of(pthread_t thread)
{
    clockid_t clock;
    /* The number of a thread's clock contains the thread's number: see clock_getres(2). */
    return pthread_getcpuclockid(thread, &clock) == 0 ? (pid_t) ~(clock >> 3) : 0;
}

bool
owngil_thread_is_alive(pid_t id)
{
    return syscall(SYS_tgkill, getpid(), id, 0) == 0 || errno != ESRCH;
}

size_t
owngil_thread_stack_size(void)
{
    /* The main thread's stack grows up to the soft limit. If there is none (or a huge one), take 64 MiB, which cost
     * nothing until they are used. */
    const size_t unlimited = (size_t)64 << 20;
    struct rlimit limit;
    if (getrlimit(RLIMIT_STACK, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > (rlim_t)1 << 36) {
        return unlimited;
    }
    size_t size = (size_t)limit.rlim_cur;
    return size < (size_t)PTHREAD_STACK_MIN ? (size_t)PTHREAD_STACK_MIN : size;
}

bool
owngil_thread_own_folder(void)
{
    return unshare(CLONE_FS) == 0;
}

void
owngil_thread_set_name(pthread_t thread, const char *name)
{
    char short_name[16]; /* Linux allows 15 characters */
    snprintf(short_name, sizeof(short_name), "%s", name);
    pthread_setname_np(thread, short_name);
}

int
owngil_thread_wait_semaphore(sem_t *semaphore, int64_t until)
{
#if __GLIBC_PREREQ(2, 30) && !defined(__SANITIZE_THREAD__) /* TSan does not know sem_clockwait() */
    struct timespec at = owngil_clock_timespec(until);
    return sem_clockwait(semaphore, CLOCK_MONOTONIC, &at);
#else
    /* Here a semaphore waits by the wall clock only. The remaining time is right when the wait begins; setting the
     * clock during the wait makes this one wait longer or shorter. */
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    int64_t left = until - owngil_clock_now();
    wall = owngil_clock_timespec((int64_t)wall.tv_sec * OWNGIL_CLOCK_SECOND + wall.tv_nsec + (left > 0 ? left : 0));
    return sem_timedwait(semaphore, &wall);
#endif
}
