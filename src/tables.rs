//! The tables that the build script makes from `data/`: instance types, assumptions about hardware, rules about
//! versions, environment variables.

pub(crate) mod efa_variables;
pub mod instances;
pub(crate) mod variables;
pub mod version_rules;
