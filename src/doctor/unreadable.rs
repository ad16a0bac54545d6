//! The check of files of the host that nearfab could not read or understand.

use super::finding::{Check, Finding, FindingKind};
use super::input::{Input, Skip};

const INCOMPLETE: FindingKind = FindingKind {
    id: "host-incomplete",
    means: "nearfab could not read or understand these files. nearfab's answers about this host lack the content of these files, and the doctor may miss a \
            problem.",
    action: "Run nearfab as root if a file was refused. Report a file with unexpected content to nearfab: a newer driver may have changed \
             its form.",
    source: "The files of this host.",
};

pub(super) const CHECK: Check = Check { name: "unreadable files", kinds: || vec![INCOMPLETE], run };

fn run(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    let of_system = input.system.map(|system| &system.problems[..]).unwrap_or_default();
    let problems: Vec<&str> = input.machine()?.problems().iter().chain(of_system).map(String::as_str).collect();
    Ok(if problems.is_empty() { Vec::new() } else { vec![INCOMPLETE.warning(Vec::new(), problems.join("; "))] })
}
