//! What could not be read, and what does not fit together.

use super::case::{Case, Skip};
use super::finding::{Check, Complaint, Finding};

const ODD: Complaint = Complaint {
    id: "host-incomplete",
    means: "What could not be read is missing in every answer of nearfab about this host, and may hide a finding here.",
    action: "Read as root what was refused. Report to nearfab what a driver of a newer version shows in another form.",
    source: "This host.",
};

pub(super) const CHECK: Check = Check { name: "what could not be read", complaints: || vec![ODD], run };

fn run(case: &Case<'_>) -> Result<Vec<Finding>, Skip> {
    let around = case.surroundings.map(|around| &around.problems[..]).unwrap_or_default();
    let said: Vec<&str> = case.machine()?.problems().iter().chain(around).map(String::as_str).collect();
    Ok(if said.is_empty() { Vec::new() } else { vec![ODD.warning(Vec::new(), said.join("; "))] })
}
