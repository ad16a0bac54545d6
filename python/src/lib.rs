//! The Python interface of nearfab: the module `nearfab._native`. `nearfab/__init__.py` exports the classes of the
//! module, and `nearfab/_native.pyi` has the types of the classes.

#![deny(unsafe_code)]

mod context;
mod device;
mod error;
mod host;
mod near;

use pyo3::prelude::*;

/// The compiled part of the package nearfab. Import nearfab instead.
#[pymodule(gil_used = false)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("NearfabError", error::exception(module.py())?)?;
    module.add_class::<context::Efa>()?;
    module.add_class::<context::EfaAttributes>()?;
    module.add_class::<device::EfaInterface>()?;
    module.add_class::<device::NeuronDevice>()?;
    module.add_class::<host::Host>()?;
    module.add_class::<near::NearEfa>()?;
    module.add_class::<near::NearNeuron>()
}
