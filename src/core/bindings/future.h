/* What the core does to a TaskFuture. All functions need the GIL. */
#pragma once

#include "bindings/state.h"

/* Sets the `_message` of a TaskFuture, unless that is NULL or None, to the message of its task. Returns 0, or -1 with
 * an exception. */
int owngil_future_set_message(owngil_state *state, PyObject *future, PyObject *message);

/* Does what Future.set_result() does, if no thread must be notified: none has asked for the future's condition, which
 * waiting and callbacks need. Never releases the GIL, so no other thread and no signal handler runs in between. Returns
 * 1; 0 if a thread must be notified or the future is resolved; or -1 with an exception. */
int owngil_future_set_quietly(owngil_state *module_state, PyObject *future, PyObject *result);

/* Calls future.take_answer(kind, parts). Returns 0, or -1 with an exception. */
int owngil_future_take_answer(owngil_state *state, PyObject *future, int kind, PyObject *parts);
