#include "cpython/keyword_parsers.h"

#include <pthread.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* a leaf; two workers may end at the same time */
static bool unknown; /* owngil_keyword_parsers_check() has failed; set before there is a worker */

#if PY_VERSION_HEX < 0x030D0000

/* In 3.12: 1 means that the tuple is freed at exit, -1 that it is static. */
enum { OWNS_TUPLE = 1, STATIC_TUPLE = -1 };

/* Copies an object of `size` bytes to memory that is never freed, behind `prefix` zero bytes. */
static PyObject *
immortal_copy(PyObject *object, size_t size, size_t prefix)
{
    char *memory = PyMem_RawCalloc(1, prefix + size);
    if (memory == NULL) {
        return NULL;
    }
    PyObject *copy = (PyObject *)(memory + prefix);
    memcpy(copy, object, size);
    copy->ob_refcnt = _Py_IMMORTAL_REFCNT;
    return copy;
}

/* Copies a tuple of keyword names. Returns NULL without memory. */
static PyObject *
immortal_keywords(PyObject *tuple)
{
    Py_ssize_t count = PyTuple_GET_SIZE(tuple);
    /* Leave room for the garbage collector's header: zeros mean "untracked". */
    PyObject *copy = immortal_copy(tuple, sizeof(PyVarObject) + (size_t)count * sizeof(PyObject *), 2 * sizeof(void *));
    for (Py_ssize_t k = 0; copy != NULL && k < count; k++) {
        PyObject *name = PyTuple_GET_ITEM(tuple, k);
        if (!PyUnicode_IS_COMPACT_ASCII(name)) {
            return NULL; /* CPython has no such keyword */
        }
        PyObject *text = immortal_copy(name, sizeof(PyASCIIObject) + (size_t)PyUnicode_GET_LENGTH(name) + 1, 0);
        if (text == NULL) {
            return NULL;
        }
        ((PyASCIIObject *)text)->state.interned = 0; /* keywords are compared by value too */
        ((PyTupleObject *)copy)->ob_item[k] = text;
    }
    return copy;
}

/* Replaces a tuple that the parser would free by one that is never freed. */
static void
replace_tuple(_PyArg_Parser *parser)
{
    if (parser->initialized != OWNS_TUPLE || parser->kwtuple == NULL) {
        return;
    }
    PyObject *copy = immortal_keywords(parser->kwtuple);
    if (copy != NULL) {
        /* The old tuple keeps its reference: another interpreter may be reading it at this moment. */
        parser->kwtuple = copy;
        parser->initialized = STATIC_TUPLE;
    }
}

#else

static void
replace_tuple(_PyArg_Parser *Py_UNUSED(parser))
{
    /* Since 3.13, the tuples belong to the main interpreter. */
}

#endif

/* Makes a parser of our own the head of CPython's list of parsers, which leads to all older ones. It stays there, and
 * is never freed. Returns NULL when there is no memory. Call it without the lock: since 3.13, CPython takes the main
 * interpreter's GIL for each new parser, and a thread that waits for the lock may have that GIL. */
static _PyArg_Parser *
add_head(void)
{
    static const char *const keywords[] = {"keyword", NULL};
    _PyArg_Parser *parser = PyMem_RawCalloc(1, sizeof(*parser));
    PyObject *nothing = parser != NULL ? PyTuple_New(0) : NULL;
    if (nothing == NULL) {
        PyErr_Clear();
        PyMem_RawFree(parser);
        return NULL;
    }
    PyObject *unused = NULL;
    parser->format = "|O:owngil";
    parser->keywords = keywords;
    int parsed = _PyArg_ParseTupleAndKeywordsFast(nothing, NULL, parser, &unused);
    Py_DECREF(nothing);
    if (!parsed) { /* it may be in the list already: it must not be freed */
        PyErr_Clear();
        return NULL;
    }
    replace_tuple(parser);
    return parser;
}

bool
owngil_keyword_parsers_check(void)
{
    const _PyArg_Parser *first = add_head(), *second = add_head();
    unknown = first == NULL || second == NULL || second->next != first;
    return !unknown;
}

void
owngil_keyword_parsers_release(void)
{
    if (Py_Version >= 0x030C0400 || unknown) {
        return;
    }
    _PyArg_Parser *head = add_head();
    pthread_mutex_lock(&lock);
    for (_PyArg_Parser *at = head; at != NULL; at = at->next) {
        replace_tuple(at);
    }
    pthread_mutex_unlock(&lock);
}

bool
owngil_keyword_parsers_forget(bool (*is_unloadable)(const void *context, const void *address), const void *context)
{
    _PyArg_Parser *head = unknown ? NULL : add_head();
    pthread_mutex_lock(&lock);
    for (_PyArg_Parser *at = head; at != NULL; at = at->next) {
        while (at->next != NULL && is_unloadable(context, at->next)) {
            at->next = at->next->next;
        }
    }
    pthread_mutex_unlock(&lock);
    return head != NULL;
}

void
owngil_keyword_parsers_atfork(owngil_atfork_step step)
{
    owngil_atfork_lock(step, &lock);
}
