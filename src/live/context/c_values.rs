//! Enums and texts of C interfaces, as Rust values.

use std::ffi::c_char;

/// An enum for the numbers of a C interface. Keeps a number that only newer kernels or libraries have, as `Unknown`.
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
            /// A number that has no name here.
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

/// A text in a field of fixed length, ended by a zero byte or by the field.
pub(in crate::live::context) fn text(field: &[c_char]) -> String {
    let bytes: Vec<u8> = field.iter().map(|c| c.cast_unsigned()).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
