//! Who is near whom: pure functions of a [`crate::Host`].

mod near;
mod proximity;

pub use near::{Basis, Evidence, Near, NearList};
pub use proximity::Proximity;
