//! Computes nearness, numbering, links, trees and differences.
//!
//! All results are pure functions of a [`crate::Host`].

mod anchor;
mod cuda;
mod diff;
mod links;
mod matrix;
mod member;
mod near;
mod numbering;
mod proximity;
mod rails;
mod sources;
mod tree;

pub use anchor::Anchor;
pub use diff::{Change, Subject, WhatChanged};
pub use links::{LinkEvidence, Links};
pub use matrix::{Matrix, MatrixMember, Pair};
pub use member::{Member, MemberKind};
pub use near::{Basis, Evidence, Near, NearList};
pub use numbering::{CoreNumbering, LogicalCoreRow};
pub use proximity::Proximity;
pub use rails::{Rail, RailOptions, Rails};
pub use tree::{Branch, Leaf, NumaBranch, RootBranch, TopologyTree};
