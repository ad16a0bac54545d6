//! C types that only the library looks into.

use core::marker::{PhantomData, PhantomPinned};

/// A device in the list of `ibv_get_device_list`.
///
/// Only ever behind a pointer that the library gave.
#[repr(C)]
#[derive(Debug)]
pub struct ibv_device {
    inside: [u8; 0],
    elsewhere: PhantomData<(*mut u8, PhantomPinned)>,
}

/// A device opened by `ibv_open_device`.
///
/// Only ever behind a pointer that the library gave.
#[repr(C)]
#[derive(Debug)]
pub struct ibv_context {
    inside: [u8; 0],
    elsewhere: PhantomData<(*mut u8, PhantomPinned)>,
}
