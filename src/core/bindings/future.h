/* What the core does to a TaskFuture. All needs the GIL. */
#pragma once

#include "bindings/state.h"

/* Gives a TaskFuture, unless it is NULL or None, the message that its task has become. Returns 0 or -1. */
int owngil_future_set_message(owngil_state *state, PyObject *future, PyObject *message);

/* Does what Future.set_result() does, if no thread is to be told of it: none has asked for the future's condition, which
 * waiting and callbacks need. No other thread comes in between, and no handler of a signal: nothing in here lets go of the
 * GIL. Returns 1; 0 if a thread is to be told, or the future is resolved; -1 with an exception. */
int owngil_future_set_quietly(owngil_state *module_state, PyObject *future, PyObject *result);

/* Calls future.take_answer(kind, parts). Returns 0 or -1. */
int owngil_future_take_answer(owngil_state *state, PyObject *future, int kind, PyObject *parts);
