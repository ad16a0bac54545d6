//! The boundary to C. Results become error numbers, and panics stop. `nearfab_error_text` returns the kept error texts.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use nearfab::ErrorCode;

/// Why a C function fails.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The Rust library returned an error.
    Nearfab(nearfab::Error),
    /// An argument is a null pointer, text that is not UTF-8, or a number out of range.
    Argument(String),
    /// A handle is zero, closed or of another kind.
    Handle(String),
    /// A handle belongs to the process from which this process was forked.
    Forked(String),
}

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl From<nearfab::Error> for Failure {
    fn from(error: nearfab::Error) -> Self {
        Self::Nearfab(error)
    }
}

impl Failure {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Nearfab(error) => error.code(),
            Self::Argument(_) => ErrorCode::InvalidArgument,
            Self::Handle(_) => ErrorCode::InvalidHandle,
            Self::Forked(_) => ErrorCode::Forked,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Nearfab(error) => error.to_string(),
            Self::Argument(text) | Self::Handle(text) | Self::Forked(text) => text.clone(),
        }
    }
}

thread_local! {
    static LAST_TEXT: RefCell<CString> = RefCell::default();
}

/// Runs the body of a C function and returns its error number.
///
/// Unwind safety: only the handle tables outlive a call, and every change of a table is complete before the next
/// operation that can panic.
pub(crate) fn guard(body: impl FnOnce() -> Outcome) -> i32 {
    let (code, text) = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return 0,
        Ok(Err(failure)) => (failure.code(), failure.text()),
        Err(panic) => (ErrorCode::Internal, format!("nearfab panicked: {}; please report it", message(&*panic))),
    };
    keep_text(text);
    code as i32
}

/// Returns the text of this thread's last failure, or an empty text before the first failure.
pub(crate) fn last_text() -> *const c_char {
    // A thread that is exiting may call this function after the thread's text was dropped.
    LAST_TEXT.try_with(|text| text.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

fn keep_text(text: String) {
    let text = CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default();
    // In a thread that is exiting, `LAST_TEXT` may be dropped already: then the new text is lost.
    let _ = LAST_TEXT.try_with(|last| last.replace(text));
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::*;

    fn last_text_in_rust() -> String {
        // SAFETY: `last_text` returns a NUL-terminated text that lives until this thread's next failure.
        unsafe { CStr::from_ptr(last_text()) }.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_panic_becomes_an_internal_error() {
        assert_eq!(guard(|| panic!("on {}", "purpose")), ErrorCode::Internal as i32);
        assert_eq!(last_text_in_rust(), "nearfab panicked: on purpose; please report it");
        assert_eq!(guard(|| Ok(())), 0);
    }

    #[test]
    fn each_thread_has_its_own_text_and_success_keeps_it() {
        assert_eq!(last_text_in_rust(), "");
        guard(|| Err(Failure::Argument("before\0after".into())));
        std::thread::spawn(|| assert_eq!(last_text_in_rust(), "")).join().unwrap();
        guard(|| Ok(()));
        assert_eq!(last_text_in_rust(), "before\u{fffd}after");
    }
}
