//! Tests the C interface as its users see it, with programs that are compiled against the header and linked with the
//! library. If an interpreter has the Python module, the tests also run the Python interface.

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
