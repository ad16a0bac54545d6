//! Converts enums and texts of C interfaces to Rust values.

use std::ffi::c_char;

/// Defines an enum for the numbers of a C interface. `Unknown` keeps a number that only newer kernels or libraries use.
macro_rules! numbers {
    (
        $(#[$enum_doc:meta])*
        pub enum $name:ident: $raw:ty;
        $($(#[$doc:meta])* $variant:ident = $value:literal,)*
    ) => {
        $(#[$enum_doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$doc])* $variant,)*
            /// A number that this nearfab has no name for.
            Unknown($raw),
        }

        impl From<$raw> for $name {
            fn from(raw: $raw) -> Self {
                match raw {
                    $($value => Self::$variant,)*
                    unknown => Self::Unknown(unknown),
                }
            }
        }
    };
}
pub(in crate::live::context) use numbers;

/// Returns the text in a field of fixed length. A zero byte or the field's end ends the text.
pub(in crate::live::context) fn text(field: &[c_char]) -> String {
    let bytes: Vec<u8> = field.iter().map(|c| c.cast_unsigned()).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
