/* Threads of the operating system: what POSIX leaves open. */
#pragma once

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Lets a processor that waits in a loop do so at its ease. */
static inline void
owngil_thread_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

/* Whether signals for the whole process arrive in the calling thread: it is the first one, or the one that forked. */
bool owngil_thread_is_main(void);

/* The system's number of the calling thread; and of a thread that is neither joined nor detached yet, 0: it has ended. */
pid_t owngil_thread_id(void);
pid_t owngil_thread_id_of(pthread_t thread);

/* Whether the process has a thread of that number. When a thread has ended, its number may become another's. */
bool owngil_thread_is_alive(pid_t id);

/* Bytes of stack for a worker's thread: as many as the main thread may use. */
size_t owngil_thread_stack_size(void);

/* Names the thread for debuggers and tools like top; a long name is cut. */
void owngil_thread_set_name(pthread_t thread, const char *name);

/* Waits for the semaphore until a moment of owngil_clock_now(). Returns 0, or -1 with errno EINTR or ETIMEDOUT. */
int owngil_thread_wait_semaphore(sem_t *semaphore, int64_t until);
