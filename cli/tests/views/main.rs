//! What people and programs see of a host, in every form.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod forms;
mod hosts;
mod output;
mod snapshots;
