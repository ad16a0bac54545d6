//! The C interface as its users see it: programs that are compiled against the header and linked with the library. If
//! there is an interpreter with the Python module, the Python interface is tested with them.

#[cfg(test)]
mod contexts;
#[cfg(test)]
mod error_codes;
#[cfg(test)]
mod faces;
#[cfg(test)]
#[expect(dead_code, reason = "the library's own tests use all of it")]
#[path = "../../../tests/support/mod.rs"]
mod machine;
#[cfg(test)]
mod programs;
#[cfg(test)]
mod support;
