//! What the registry is made safe with: the standard library's, or where it is checked as a model, loom's.

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
