/* The dynamic loader, in a way that forks do not catch in the middle of its work.
 *
 * glibc makes two of its loader's three locks anew in the child of a fork, whoever held them, and leaves the third, of
 * the list of libraries, as it is (posix/fork.c, elf/dl-close.c). A thread that loads or unloads a library at the moment
 * of the fork would leave the child a lock that nobody opens, or a list that is half changed. In CPython alone that
 * cannot be, for who forks has the GIL. Here each worker has one of its own: so what a worker imports, and its end, load
 * and unload by way of these functions, and a fork waits for them. So do constructors and destructors, for the lock of
 * what runs at exit, which C++ statics enter and leave, is not made anew either (stdlib/cxa_finalize.c). What C code
 * opens itself is as it is in any program with threads.
 *
 * Python's forks wait before the first handler of any C library is called, by os.register_at_fork(): a library that
 * registers a handler when it is loaded, as OpenBLAS does to end its threads, would else be loaded between those of its
 * handlers that are called and the fork. Forks of C code wait in our own handler.
 */
#pragma once

#include "base/atfork.h"

#include <stdbool.h>

/* As dlopen() and dlclose(). Constructors and destructors of libraries run in here, and may come back. Need no GIL, and
 * wait for no other thread's GIL, unless a constructor does. */
void *owngil_fork_gate_open(const char *name, int flags);
int owngil_fork_gate_close(void *handle);

/* Around the constructors and destructors of a library that run at other times, and what else no fork may catch in the
 * middle; may be nested. Who has a GIL tries, and lets go of it to wait: one who is inside may want it. */
void owngil_fork_gate_enter(void);
bool owngil_fork_gate_try_enter(void);
void owngil_fork_gate_leave(void);

/* The calling thread is going to fork: nobody enters until it has forked or withdrawn. Returns whether nobody is inside: else
 * it waits for that, and announces once more. Comes before the handlers of C libraries, of which one may be loaded only now.
 * Who wants to enter waits a second at most for a fork that could be made: between announcing and forking other code may run
 * that needs whoever waits. Needs no GIL; who waits has none. */
bool owngil_fork_gate_announce(void);
void owngil_fork_gate_await_loading(void);
void owngil_fork_gate_withdraw(void);

void owngil_fork_gate_init(void); /* once, before all else */
void owngil_fork_gate_atfork(owngil_atfork_step step);
