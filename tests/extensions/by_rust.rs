//! Test module: the common interface (build.py) in Rust without any crate. As in PyO3's modules, the definition is a
//! static object of refcount 1, init is multi-phase, and a thread-local value's destructor runs at the thread's end.
#![allow(non_snake_case)]

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI64, Ordering};

type Object = *mut c_void;
type Function = unsafe extern "C" fn(Object, *const Object, isize) -> Object;

#[repr(C)]
struct Method {
    name: *const c_char,
    function: Option<Function>,
    flags: c_int,
    doc: *const c_char,
}

#[repr(C)]
struct Slot {
    id: c_int,
    value: *mut c_void,
}

#[repr(C)]
struct Definition {
    refcount: isize,
    class: Object,
    init: *mut c_void,
    index: isize,
    copy: Object,
    name: *const c_char,
    doc: *const c_char,
    size: isize,
    methods: *mut Method,
    slots: *mut Slot,
    traverse: *mut c_void,
    clear: *mut c_void,
    free: *mut c_void,
}

#[repr(C)]
struct Buffer {
    items: *const f64,
    owner: Object,
    length: isize,
    item_size: isize,
    read_only: c_int,
    dimensions: c_int,
    format: *const c_char,
    shape: *const isize,
    strides: *const isize,
    suboffsets: *const isize,
    internal: *mut c_void,
}

const METH_FASTCALL: c_int = 0x80;
const PYBUF_CONTIG_RO: c_int = 0x8;

extern "C" {
    static PyExc_TypeError: Object;
    static PyExc_ValueError: Object;
    fn PyErr_SetString(class: Object, text: *const c_char);
    fn PyFloat_FromDouble(value: f64) -> Object;
    fn PyLong_FromLongLong(value: i64) -> Object;
    fn PyModuleDef_Init(definition: *mut Definition) -> Object;
    fn PyObject_CallFunctionObjArgs(f: Object, ...) -> Object;
    fn PyObject_GetBuffer(object: Object, view: *mut Buffer, flags: c_int) -> c_int;
    fn PyBuffer_Release(view: *mut Buffer);
}

struct Seen(Cell<bool>);

impl Drop for Seen {
    fn drop(&mut self) {
        ENDED.fetch_add(self.0.get() as i64, Ordering::Relaxed);
    }
}

static COUNT: AtomicI64 = AtomicI64::new(0);
static ENDED: AtomicI64 = AtomicI64::new(0);
thread_local! { static SEEN: Seen = const { Seen(Cell::new(false)) } }

unsafe extern "C" fn bump(_module: Object, _args: *const Object, _size: isize) -> Object {
    let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    SEEN.with(|seen| seen.0.set(true));
    PyLong_FromLongLong(count)
}

unsafe extern "C" fn ended(_module: Object, _args: *const Object, _size: isize) -> Object {
    PyLong_FromLongLong(ENDED.load(Ordering::Relaxed))
}

unsafe extern "C" fn apply(_module: Object, args: *const Object, size: isize) -> Object {
    if size != 2 {
        PyErr_SetString(PyExc_TypeError, c"apply() takes a callable and its argument".as_ptr());
        return null_mut();
    }
    PyObject_CallFunctionObjArgs(*args, *args.add(1), null_mut::<c_void>())
}

unsafe extern "C" fn fail(_module: Object, _args: *const Object, _size: isize) -> Object {
    PyErr_SetString(PyExc_ValueError, c"refused".as_ptr());
    null_mut()
}

unsafe extern "C" fn total(_module: Object, args: *const Object, size: isize) -> Object {
    if size != 1 {
        PyErr_SetString(PyExc_TypeError, c"total() takes one array".as_ptr());
        return null_mut();
    }
    let mut view: Buffer = std::mem::zeroed();
    if PyObject_GetBuffer(*args, &mut view, PYBUF_CONTIG_RO) < 0 {
        return null_mut();
    }
    let items = std::slice::from_raw_parts(view.items, view.length as usize / size_of::<f64>());
    let sum = items.iter().sum();
    PyBuffer_Release(&mut view);
    PyFloat_FromDouble(sum)
}

const fn method(name: *const c_char, function: Option<Function>) -> Method {
    Method { name, function, flags: if function.is_some() { METH_FASTCALL } else { 0 }, doc: std::ptr::null() }
}

static mut METHODS: [Method; 6] = [
    method(c"bump".as_ptr(), Some(bump)),
    method(c"ended".as_ptr(), Some(ended)),
    method(c"apply".as_ptr(), Some(apply)),
    method(c"fail".as_ptr(), Some(fail)),
    method(c"total".as_ptr(), Some(total)),
    method(std::ptr::null(), None),
];
static mut SLOTS: [Slot; 1] = [Slot { id: 0, value: null_mut() }];
static mut DEFINITION: Definition = Definition {
    refcount: 1,
    class: null_mut(),
    init: null_mut(),
    index: 0,
    copy: null_mut(),
    name: c"by_rust".as_ptr(),
    doc: std::ptr::null(),
    size: 0,
    methods: &raw mut METHODS as *mut Method,
    slots: &raw mut SLOTS as *mut Slot,
    traverse: null_mut(),
    clear: null_mut(),
    free: null_mut(),
};

#[no_mangle]
pub unsafe extern "C" fn PyInit_by_rust() -> Object {
    PyModuleDef_Init(&raw mut DEFINITION)
}
