//! Who is near whom: pure functions of a [`crate::Host`].

mod diff;
mod links;
mod near;
mod numbering;
mod proximity;

pub use diff::{Change, Subject, WhatChanged};
pub use links::{LinkEvidence, Links};
pub use near::{Basis, Evidence, Near, NearList};
pub use numbering::{CoreNumbering, LogicalCoreRow};
pub use proximity::Proximity;
