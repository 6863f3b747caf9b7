/* What the core does to a TaskFuture. All functions need the GIL. */
#pragma once

#include "bindings/state.h"

/* The outcomes of a future. */
typedef enum { OWNGIL_FUTURE_RESULT, OWNGIL_FUTURE_EXCEPTION, OWNGIL_FUTURE_CANCELLED } owngil_future_outcome;

/* Sets the `_message` of a TaskFuture, unless that is NULL or None, to the message of its task. Returns 0, or -1 with
 * an exception. */
int owngil_future_set_message(owngil_state *state, PyObject *future, PyObject *message);

/* Returns 1 if callbacks or threads wait for the future, 0 if none do, or -1 with an exception. */
int owngil_future_is_watched(owngil_state *state, PyObject *future);

/* Resolves a TaskFuture that is not resolved; `value` is its result or its exception. Never releases the GIL, so no
 * other thread and no signal handler runs in between. Then calls future._on_resolved(), and again as often as an
 * exception ends it (of a signal handler, for example). Returns 1; 0 if the future was resolved already; or -1 with an
 * exception, the first that ended _on_resolved(): then the future is resolved all the same, unless there is no
 * memory. */
int owngil_future_resolve(owngil_state *state, PyObject *future, owngil_future_outcome outcome, PyObject *value);

/* Resolves the future with what function(*args) returns, a tuple: either (result, None) or (None, exception); or with
 * the exception that it raises. Returns as owngil_future_resolve(). */
int owngil_future_settle(owngil_state *state, PyObject *future, PyObject *function, PyObject *const *args,
                         Py_ssize_t count);

/* Resolves the future with such a tuple. Returns as owngil_future_resolve(). */
int owngil_future_resolve_by(owngil_state *state, PyObject *future, PyObject *outcome);
