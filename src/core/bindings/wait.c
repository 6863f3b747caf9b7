#include "bindings/wait.h"

#include "bindings/raise.h"
#include "memory/lease.h"
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

int
owngil_wait_for_message(owngil_queue *queue, uint64_t receiver, owngil_message **message, owngil_deadline deadline,
                        PyObject *closed)
{
    /* What is there already is had without letting go of the GIL, for which others wait. */
    owngil_status code = owngil_queue_get(queue, receiver, message, OWNGIL_DEADLINE_NOW);
    int again = 0;
    if (code == OWNGIL_TIMEOUT && deadline != OWNGIL_DEADLINE_NOW) {
        do {
            owngil_wait_begin();
            Py_BEGIN_ALLOW_THREADS
            code = owngil_queue_get(queue, receiver, message, deadline);
            Py_END_ALLOW_THREADS
            again = owngil_wait_end(code);
        } while (again > 0);
    }
    owngil_lease_collect();
    if (again == 0 && code != OWNGIL_OK) {
        owngil_raise_status(code, closed);
    }
    return again == 0 && code == OWNGIL_OK ? 0 : -1;
}
