/* Functions of operating system threads that POSIX does not have. */
#pragma once

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Tells the processor that the thread spins. */
static inline void
owngil_thread_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

/* Whether the calling thread receives signals for the whole process: the process's first thread, or the one that
 * forked. */
bool owngil_thread_is_main(void);

/* Returns the system's number of the calling thread. */
pid_t owngil_thread_id(void);

/* Returns the system's number of a thread that is neither joined nor detached yet; 0: it has ended. */
pid_t owngil_thread_id_of(pthread_t thread);

/* Whether the process has a thread of that number. The system may reuse the number of a thread that has ended. */
bool owngil_thread_is_alive(pid_t id);

/* Returns how many bytes of stack a worker's thread gets: as many as the main thread may use. */
size_t owngil_thread_stack_size(void);

/* Gives the calling thread a current folder and a umask of its own, which threads that it starts share with it. Returns
 * false if the system does not allow that, as in some containers: then the thread goes on to share the process's. */
bool owngil_thread_own_folder(void);

/* Names the thread for debuggers and tools like top. A long name is cut. */
void owngil_thread_set_name(pthread_t thread, const char *name);

/* Waits for the semaphore until a moment of owngil_clock_now(). Returns 0, or -1 with errno EINTR or ETIMEDOUT. */
int owngil_thread_wait_semaphore(sem_t *semaphore, int64_t until);
