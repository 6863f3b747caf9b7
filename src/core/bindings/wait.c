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

int
owngil_wait_end(owngil_status code, bool undoes)
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
    }
    if (interrupted || PyErr_CheckSignals() < 0) {
        return -1;
    }
    if (over) {
        return 0;
    }
    owngil_wait_rounds_go_on(rounds);
    return 1;
}

owngil_message *
owngil_wait_for_message(owngil_queue *queue, uint64_t receiver, owngil_deadline deadline, PyObject *closed)
{
    owngil_message *message = NULL;
    /* Take a message that is there already without releasing the GIL, for which other threads wait. */
    owngil_status code = owngil_queue_get(queue, receiver, &message, OWNGIL_DEADLINE_NOW);
    int failed = 0;
    if (code == OWNGIL_TIMEOUT && deadline != OWNGIL_DEADLINE_NOW) {
        OWNGIL_WAIT(failed, code, owngil_queue_get(queue, receiver, &message, deadline));
    }
    owngil_lease_collect();
    if (failed == 0 && code != OWNGIL_OK) {
        owngil_raise_status(code, closed);
    }
    return failed == 0 && code == OWNGIL_OK ? message : NULL;
}
