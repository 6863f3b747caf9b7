//! Test module: the common interface (build.py) in Rust with PyO3.
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::sync::atomic::{AtomicI64, Ordering};

static COUNT: AtomicI64 = AtomicI64::new(0);

#[pyfunction]
fn bump() -> i64 {
    COUNT.fetch_add(1, Ordering::Relaxed) + 1
}

#[pyfunction]
fn apply<'py>(f: Bound<'py, PyAny>, x: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    f.call1((x,))
}

#[pyfunction]
fn fail() -> PyResult<()> {
    Err(PyValueError::new_err("refused"))
}

#[pymodule]
fn by_pyo3(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(bump, module)?)?;
    module.add_function(wrap_pyfunction!(apply, module)?)?;
    module.add_function(wrap_pyfunction!(fail, module)?)
}
