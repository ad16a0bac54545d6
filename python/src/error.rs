//! Errors of the library as Python exceptions.

use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::PyType;

create_exception!(
    nearfab,
    NearfabError,
    PyException,
    "What nearfab reports as an error: the text is for people, the code (see ErrorCode) for programs."
);

/// The exception's class. It has a code of its own, 0, so that every exception has one whoever raised it.
pub(crate) fn exception(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    let class = py.get_type::<NearfabError>();
    class.setattr("code", 0)?;
    Ok(class)
}

/// Raises an error of the library.
pub(crate) fn raise(py: Python<'_>, error: &nearfab::Error) -> PyErr {
    let raised = NearfabError::new_err(error.chain());
    match raised.value(py).setattr("code", error.code() as i32) {
        Ok(()) => raised,
        Err(other) => other,
    }
}
