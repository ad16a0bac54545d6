//! The C face as users meet it: programs compiled against the header and linked with the library.

#[cfg(test)]
mod faces;
#[cfg(test)]
mod programs;
#[cfg(test)]
mod support;
