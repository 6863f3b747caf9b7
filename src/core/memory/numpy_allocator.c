#include "memory/numpy_allocator.h"

#include <stdlib.h>
#include <string.h>

/* Comes before an array's memory. Changed with the GIL of the array's interpreter only. */
typedef struct {
    size_t size;         /* bytes behind it */
    owngil_block
        *block; /* of all of it: the array refers to it, and whoever it was handed to. NULL: the array's alone */
} header;

enum { ROOM = 16 }; /* malloc()'s alignment, which NumPy's own memory has too */
_Static_assert(sizeof(header) <= ROOM, "a header has no room");

/* As in NumPy's ndarraytypes.h, version 1. */
typedef struct {
    char name[127];
    uint8_t version;
    struct {
        void *context;
        void *(*malloc)(void *context, size_t size);
        void *(*calloc)(void *context, size_t count, size_t size);
        void *(*realloc)(void *context, void *data, size_t size);
        void (*free)(void *context, void *data, size_t size);
    } allocator;
} handler;

enum { FEATURE_VERSION = 211, SET_HANDLER = 304 }; /* places in NumPy's table of functions */
enum { HANDLERS = 0xF };                           /* its version that has them first: NumPy 1.22 */

static header *
header_of(void *data)
{
    return (header *)((char *)data - ROOM);
}

static void *
finish(header *self, size_t size)
{
    if (self == NULL) {
        return NULL;
    }
    owngil_block_advise(self, ROOM + size);
    *self = (header){.size = size};
    return (char *)self + ROOM;
}

static void *
array_malloc(void *Py_UNUSED(context), size_t size)
{
    return size <= PTRDIFF_MAX - ROOM ? finish(malloc(ROOM + size), size) : NULL;
}

static void *
array_calloc(void *Py_UNUSED(context), size_t count, size_t size)
{
    size_t total;
    return !__builtin_mul_overflow(count, size, &total) && total <= PTRDIFF_MAX - ROOM
               ? finish(calloc(1, ROOM + total), total)
               : NULL;
}

static void
array_free(void *Py_UNUSED(context), void *data, size_t Py_UNUSED(size))
{
    if (data == NULL) {
        return;
    }
    header *self = header_of(data);
    if (self->block != NULL) {
        owngil_refcount_release(&self->block->base);
    }
    else {
        free(self);
    }
}

static void *
array_realloc(void *context, void *data, size_t size)
{
    if (data == NULL) {
        return array_malloc(context, size);
    }
    header *self = header_of(data);
    if (self->block == NULL) {
        return size <= PTRDIFF_MAX - ROOM ? finish(realloc(self, ROOM + size), size) : NULL;
    }
    void *other = array_malloc(context, size);
    if (other != NULL) {
        memcpy(other, data, size < self->size ? size : self->size);
        array_free(context, data, self->size);
    }
    return other;
}

static void
block_free(owngil_refcounted *base)
{
    free(header_of(((owngil_block *)base)->data));
    free(base);
}

owngil_block *
owngil_numpy_allocator_block(void *start, void *data, size_t size)
{
    header *self = header_of(start);
    if (self->block == NULL && (self->block = malloc(sizeof(*self->block))) != NULL) {
        owngil_refcount_init(&self->block->base, OWNGIL_KIND_BLOCK, block_free);
        self->block->data = start;
        self->block->size = self->size;
        self->block->is_writable = false;
    }
    return self->block != NULL ? owngil_block_part(self->block, data, size) : NULL;
}

int
owngil_numpy_allocator_install(PyObject *api)
{
    static handler ours = {
        .name = "owngil",
        .version = 1,
        .allocator = {.malloc = array_malloc, .calloc = array_calloc, .realloc = array_realloc, .free = array_free},
    };
    void **functions = PyCapsule_GetPointer(api, NULL);
    if (functions == NULL) {
        return -1;
    }
    if (((unsigned int (*)(void))functions[FEATURE_VERSION])() < HANDLERS) {
        return 0;
    }
    PyObject *capsule = PyCapsule_New(&ours, "mem_handler", NULL);
    if (capsule == NULL) {
        return -1;
    }
    PyObject *former = ((PyObject * (*)(PyObject *)) functions[SET_HANDLER])(capsule);
    Py_DECREF(capsule);
    if (former == NULL) {
        return -1;
    }
    Py_DECREF(former);
    return 0;
}
