//! The locks and atomics of the registry: the standard library's, or loom's when the registry is model-checked
//! (`cfg(loom)`).

#[cfg(loom)]
pub(in crate::live) use loom::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};
#[cfg(not(loom))]
pub(in crate::live) use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};
