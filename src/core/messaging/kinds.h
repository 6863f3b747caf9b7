/* The kinds of messages between a dispatcher, its workers, and its clients in other interpreters.
 *
 * Kinds are numbered here and nowhere else: the module _core has each as a constant of that name.
 * owngil/_wire/protocol.py says what each is for; the core itself uses only those with a comment.
 */
#pragma once

/* clang-format off */
#define OWNGIL_MESSAGE_KINDS(X) \
    X(EXITED)      /* a worker's last message: its interpreter has ended */ \
    X(FAILED)      /* one Block, UTF-8: why the worker stopped before its time; EXITED follows */ \
    X(KEPT)        /* instead of EXITED: threads of its own keep its interpreter alive until exit */ \
    X(RESULT)      /* the result of a task */ \
    X(STUCK)       /* one Block: the stack of a task that does not notice its interrupt, see workers/interrupts.h */ \
    X(STUCK_START) /* as STUCK, for the worker's start, before its first task */ \
    X(END)         /* among a worker's tasks: no task, but the end of the worker */ \
    X(CALL) X(ERROR) X(READY) X(STDOUT) X(STDERR) X(WAKE) X(LOG) X(WARNING) X(JOIN) X(LEAVE) X(NEED) X(BLOCKED) \
    X(UNBLOCKED) X(INTERRUPT) X(BROKEN) X(CANCEL) X(ENDED)
/* clang-format on */

typedef enum {
    OWNGIL_MESSAGE_NONE, /* 0: the setup of a worker */
#define KIND(name) OWNGIL_MESSAGE_##name,
    OWNGIL_MESSAGE_KINDS(KIND)
#undef KIND
} owngil_message_kind;
