#include "bindings/wait.h"

#include "sync/parking.h"

void
owngil_wait_begin(void)
{
    owngil_wait_rounds_begin();
    owngil_parking_begin();
}

static int
wait_end(owngil_status code, bool undoes)
{
    bool interrupted = owngil_parking_end();
    const owngil_wait_rounds rounds = owngil_wait_rounds_end();
    bool over = code != OWNGIL_INTERRUPTED;
    if (over && !undoes) {
        if (interrupted) {
            /* Keep what the wait brought, and raise at the next bytecode. */
            PyThreadState_SetAsyncExc(PyThread_get_thread_ident(), PyExc_KeyboardInterrupt);
        }
        return 0;
    }
    if (interrupted) {
        PyErr_SetNone(PyExc_KeyboardInterrupt);
        return -1;
    }
    if (PyErr_CheckSignals() < 0) {
        return -1;
    }
    if (over) {
        return 0;
    }
    owngil_wait_rounds_go_on(rounds);
    return 1;
}

int
owngil_wait_end(owngil_status code)
{
    return wait_end(code, false);
}

int
owngil_wait_end_to_undo(owngil_status code)
{
    return wait_end(code, true);
}
