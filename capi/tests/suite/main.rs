//! The C face as users meet it: programs compiled against the header and linked with the library. Where there is an
//! interpreter that has nearfab, the Python face beside it.

#[cfg(test)]
mod contexts;
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
