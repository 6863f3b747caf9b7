/* Loads and unloads libraries such that no fork catches the dynamic loader in the middle of its work.
 *
 * In the child of a fork, glibc makes two of its loader's three locks anew, whichever thread held them, but not the
 * third, which guards the list of libraries (posix/fork.c, elf/dl-close.c). If a thread loaded or unloaded a library at
 * the moment of the fork, the child would have a lock that no thread opens, or a half-changed list. In CPython alone
 * this cannot happen: the forking thread has the GIL. Here each worker has a GIL of its own. So a worker's imports, and
 * its end, load and unload through these functions, and a fork waits for them. A fork waits for constructors and
 * destructors too: glibc does not make the lock of the exit functions anew either, which C++ statics register and run
 * (stdlib/cxa_finalize.c). Libraries that C code opens itself are not protected, as in any program with threads.
 *
 * A fork by Python code waits in os.register_at_fork(), before the first fork handler of any C library is called.
 * Otherwise a library that registers a handler when it is loaded, as OpenBLAS does to end its threads, could be loaded
 * after these calls and before the fork. A fork by C code waits in our own handler.
 */
#pragma once

#include "base/atfork.h"

#include <stdbool.h>

/* As dlopen() and dlclose(). Constructors and destructors of libraries run inside the gate, and may enter it again.
 * Need no GIL, and wait for no other thread's GIL, unless a constructor does. */
void *owngil_fork_gate_open(const char *name, int flags);
int owngil_fork_gate_close(void *handle);

/* Enter and leave the gate: for constructors and destructors that run at other times, and whatever else no fork may
 * interrupt. May be nested. Holding a GIL, call try_enter(), and release the GIL before enter(): a thread inside the
 * gate may need it. */
void owngil_fork_gate_enter(void);
bool owngil_fork_gate_try_enter(void);
void owngil_fork_gate_leave(void);

/* Announces that the calling thread is going to fork: no other thread enters until it has forked or withdrawn. Returns
 * whether no thread is inside; if one is, call await_loading() and announce again. Call it before the handlers of C
 * libraries run, since a library that has one may be loaded only now. A thread that wants to enter waits at most
 * five seconds for a fork that could be made: between announcing and forking, other code may run that needs the
 * waiting thread. Needs no GIL; await_loading() must be called without one. */
bool owngil_fork_gate_announce(void);
void owngil_fork_gate_await_loading(void);
void owngil_fork_gate_withdraw(void);

void owngil_fork_gate_init(void); /* call once, before all else */
void owngil_fork_gate_atfork(owngil_atfork_step step);
