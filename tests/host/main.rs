//! Tests of everything that nearfab does without a vendor library. The tests are in one program, because each program
//! links the whole library.
//!
//! A test that changes the state of its process (environment, working directory, limits) runs its body in a child
//! process.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod captured_hosts;
mod captures;
mod description;
mod formats;
mod gpus;
mod judges;
mod names;
mod numbering;
mod oddities;
mod pairing;
mod plan;
#[cfg(feature = "live")]
mod probe;
mod properties;
mod quick;
mod rails;
mod real_driver;
mod record;
mod recorded_trees;
mod redaction;
mod robustness;
mod scan;
#[expect(dead_code, reason = "no test here needs a vendor library")]
#[path = "../support/mod.rs"]
mod support;
mod system;
mod telemetry;
mod unknown_type;
mod usability;
mod user;
mod verify;
mod write;

use support::tree;
