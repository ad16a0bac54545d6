//! PCI addresses.

use std::ffi::c_char;
use std::ptr;

use nearfab::Bdf;

use crate::boundary::{Failure, Outcome, guard};
use crate::pointer::{self, Place};

/// How many bytes the text of a PCI address needs at most, including the NUL.
pub const NEARFAB_BDF_SIZE: usize = 17;

/// The address of a PCI function. Its text is 0000:cc:00.0.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NearfabBdf {
    /// The PCI domain: 0 on every known EC2 instance.
    pub domain: u32,
    /// The bus.
    pub bus: u8,
    /// The device, 0 to 31.
    pub device: u8,
    /// The function, 0 to 7.
    pub function: u8,
    /// nearfab writes 0 and does not read this field.
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
            let text = format!(
                "invalid PCI address with device {device} and function {function}: expected a device from 0 to 31 and \
                 a function from 0 to 7"
            );
            Err(Failure::Argument(text))
        }
    }
}

/// Writes a PCI address as text into `buffer` of `size` bytes. NEARFAB_BDF_SIZE bytes are enough for every address. If
/// the text is longer than the buffer, the text is cut as by snprintf(3).
///
/// # Errors
/// NEARFAB_ERROR_INVALID_ARGUMENT if the device or the function of the address is out of range.
///
/// # Safety
/// `buffer` is valid for `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_bdf_to_text(address: NearfabBdf, buffer: *mut c_char, size: usize) -> i32 {
    guard(|| {
        let text = address.to_rust()?.to_string();
        // SAFETY: the caller guarantees that `size` bytes of `buffer` can be written; a null length is not written.
        unsafe { pointer::put_text(&text, buffer, size, ptr::null_mut()) }
    })
}

/// Reads a PCI address from a text such as "0000:cc:00.0" or "cc:00.0".
///
/// # Errors
/// NEARFAB_ERROR_BAD_NAME if the text is not a PCI address, NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `text` is NUL-terminated, `address` points to a nearfab_bdf_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_bdf_from_text(text: *const c_char, address: *mut NearfabBdf) -> i32 {
    guard(|| {
        // SAFETY: the caller guarantees that `text` is null or NUL-terminated, and does not change it during this call.
        let text = unsafe { pointer::text("text", text) }?;
        // SAFETY: the caller guarantees that `address` is null or points to a nearfab_bdf_t that this call may write.
        let address = unsafe { Place::new("address", address) }?;
        let expected = "a PCI address such as 0000:cc:00.0";
        let parsed: Bdf = text.parse().map_err(|_| nearfab::Error::BadName { text: text.to_owned(), expected })?;
        address.set(parsed.into());
        Ok(())
    })
}
