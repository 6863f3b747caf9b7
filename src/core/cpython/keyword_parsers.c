#include "cpython/keyword_parsers.h"

#include <pthread.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* two workers may end at the same time */

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

static PyObject *
immortal_keywords(PyObject *tuple)
{
    Py_ssize_t count = PyTuple_GET_SIZE(tuple);
    /* Room for the collector's header, whose zeros mean "untracked". */
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

/* Gives a parser that frees its tuple one that nobody frees. */
static void
mend(_PyArg_Parser *parser)
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
mend(_PyArg_Parser *Py_UNUSED(parser))
{
    /* Such tuples belong to the main interpreter. */
}

#endif

/* A new parser of our own becomes the head of CPython's list of them, from which all older ones can be reached.
 * It stays there, so it is never freed. Returns NULL when there is no memory.
 *
 * Not to be called with the lock held: since 3.13, CPython takes the main interpreter's GIL for each new parser, and who
 * waits for the lock may have that. */
static _PyArg_Parser *
list_head(void)
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
    if (!parsed) { /* whether it came into the list before that, nobody says: it must not be freed */
        PyErr_Clear();
        return NULL;
    }
    mend(parser);
    return parser;
}

void
owngil_keyword_parsers_release(void)
{
    if (Py_Version >= 0x030C0400) {
        return;
    }
    _PyArg_Parser *head = list_head();
    pthread_mutex_lock(&lock);
    for (_PyArg_Parser *at = head; at != NULL; at = at->next) {
        mend(at);
    }
    pthread_mutex_unlock(&lock);
}

bool
owngil_keyword_parsers_forget(bool (*goes)(const void *context, const void *address), const void *context)
{
    _PyArg_Parser *head = list_head();
    pthread_mutex_lock(&lock);
    for (_PyArg_Parser *at = head; at != NULL; at = at->next) {
        while (at->next != NULL && goes(context, at->next)) {
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
