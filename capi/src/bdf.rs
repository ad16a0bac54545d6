//! PCI addresses.

use std::ffi::c_char;

use nearfab::Bdf;

use crate::boundary::{Failure, Outcome, guard};
use crate::pointer::{self, Place};

/// Bytes that the text of any PCI address fits into, the NUL included.
pub const NEARFAB_BDF_SIZE: usize = 17;

/// The address of a PCI function, written 0000:cc:00.0.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NearfabBdf {
    /// The PCI domain, 0 on every known EC2 instance.
    pub domain: u32,
    /// The bus.
    pub bus: u8,
    /// The device, 0 to 31.
    pub device: u8,
    /// The function, 0 to 7.
    pub function: u8,
    /// Zero from nearfab; not read.
    pub reserved: u8,
}

impl From<Bdf> for NearfabBdf {
    fn from(address: Bdf) -> Self {
        Self {
            domain: address.domain(),
            bus: address.bus(),
            device: address.device(),
            function: address.function(),
            reserved: 0,
        }
    }
}

impl NearfabBdf {
    pub(crate) fn to_rust(self) -> Outcome<Bdf> {
        let Self { domain, bus, device, function, .. } = self;
        let address = Bdf::new(domain, bus, device, function);
        if (address.device(), address.function()) == (device, function) {
            Ok(address)
        } else {
            let text = format!("there is no PCI device {device} (0 to 31) with function {function} (0 to 7)");
            Err(Failure::Argument(text))
        }
    }
}

/// Writes an address as text into `buffer`, which has `size` bytes; NEARFAB_BDF_SIZE is enough. A longer text is cut
/// as by snprintf(3).
///
/// # Errors
/// NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `buffer` is valid for `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_bdf_to_text(address: NearfabBdf, buffer: *mut c_char, size: usize) -> i32 {
    guard(|| {
        let text = address.to_rust()?.to_string();
        // SAFETY: as our caller promises; there is no length to be written.
        unsafe { pointer::put_text(&text, buffer, size, std::ptr::null_mut()) }
    })
}

/// Reads an address from a text such as "0000:cc:00.0" or "cc:00.0".
///
/// # Errors
/// NEARFAB_ERROR_BAD_NAME where the text is none, NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `text` is NUL-terminated, `address` points to a nearfab_bdf_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_bdf_from_text(text: *const c_char, address: *mut NearfabBdf) -> i32 {
    guard(|| {
        // SAFETY: as our caller promises.
        let text = unsafe { pointer::text("text", text) }?;
        // SAFETY: as our caller promises.
        let address = unsafe { Place::new("address", address) }?;
        let expected = "a PCI address such as 0000:cc:00.0";
        let parsed: Bdf = text.parse().map_err(|_| nearfab::Error::BadName { text: text.to_owned(), expected })?;
        address.set(parsed.into());
        Ok(())
    })
}
