//! Where Rust ends: results become numbers, texts stay behind for `nearfab_error_text`, panics stop.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use nearfab::ErrorCode;

/// Why a call of the C face fails.
#[derive(Debug)]
pub(crate) enum Failure {
    /// As the Rust library says.
    Nearfab(nearfab::Error),
    /// A null pointer, a text that is not UTF-8, a number out of range.
    Argument(String),
    /// A handle that is zero, closed or of another kind.
    Handle(String),
    /// A handle of the process that this one was forked from.
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
            Self::Nearfab(error) => error.chain(),
            Self::Argument(text) | Self::Handle(text) | Self::Forked(text) => text.clone(),
        }
    }
}

thread_local! {
    static LAST_TEXT: RefCell<CString> = RefCell::default();
}

/// Runs the body of a C function.
///
/// Unwind safety: the handle tables are all that outlives a call, and each change of them is complete before anything
/// that could panic.
pub(crate) fn guard(body: impl FnOnce() -> Outcome) -> i32 {
    let (code, text) = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return 0,
        Ok(Err(failure)) => (failure.code(), failure.text()),
        Err(panic) => (ErrorCode::Internal, format!("nearfab panicked, please report it: {}", message(&*panic))),
    };
    remember(text);
    code as i32
}

/// The text of this thread's last failure; empty before the first.
pub(crate) fn last_text() -> *const c_char {
    // A thread that is ending may call after its own text is gone.
    LAST_TEXT.try_with(|text| text.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

fn remember(text: String) {
    let text = CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default();
    // Where this thread is ending, nobody asks for the text any more.
    let _ = LAST_TEXT.try_with(|last| last.replace(text));
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("it did not say why")
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::*;

    fn text() -> String {
        // SAFETY: `last_text` gives a NUL-terminated text that lives until this thread's next failure.
        unsafe { CStr::from_ptr(last_text()) }.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_panic_stops_here() {
        assert_eq!(guard(|| panic!("on {}", "purpose")), ErrorCode::Internal as i32);
        assert_eq!(text(), "nearfab panicked, please report it: on purpose");
        assert_eq!(guard(|| Ok(())), 0);
    }

    #[test]
    fn texts_belong_to_their_thread_and_outlive_success() {
        assert_eq!(text(), "");
        guard(|| Err(Failure::Argument("here\0there".into())));
        std::thread::spawn(|| assert_eq!(text(), "")).join().unwrap();
        guard(|| Ok(()));
        assert_eq!(text(), "here\u{fffd}there");
    }
}
