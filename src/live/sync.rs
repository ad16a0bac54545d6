//! The locks and atomics of the registry: the types of the standard library, or the types of loom when the registry is
//! model-checked (`cfg(loom)`).

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
