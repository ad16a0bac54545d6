//! The Python exception for errors of the library.

use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::PyType;

create_exception!(
    nearfab,
    NearfabError,
    PyException,
    "An error of nearfab. The text is for people. The attribute code is for programs: a number of ErrorCode."
);

/// Returns the class of the exception. The class has the code 0, so an exception that Python code raises has a code
/// too.
pub(crate) fn exception(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    let class = py.get_type::<NearfabError>();
    class.setattr("code", 0)?;
    Ok(class)
}

/// Converts an error of the library to an exception.
pub(crate) fn raise(py: Python<'_>, error: &nearfab::Error) -> PyErr {
    let raised = NearfabError::new_err(error.to_string());
    match raised.value(py).setattr("code", error.code() as i32) {
        Ok(()) => raised,
        Err(other) => other,
    }
}
