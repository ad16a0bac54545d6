//! The same question to the same tree, in Rust, C and Python: one answer.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use nearfab::instances::InstanceTable;
use nearfab::{Basis, Host, Proximity};
use nearfab_emu::{Defect, skipped};

use crate::support::{Linked, Program, run, top};

const DEVICE: &str = "5";
const CORE: &str = "0";

/// Each neighbour on a line: rank, address, proximity, evidence.
fn rust(tree: &Path) -> String {
    let host = Host::from_root(tree).unwrap();
    let near = host.near_core(format!("neuron{DEVICE}:{CORE}").parse().unwrap(), Basis::Pairing).unwrap();
    let line = |near: &nearfab::Near<nearfab::Bdf>| {
        format!("{}\t{}\t{}\t{}\n", near.rank, near.target, name(near.proximity), near.evidence)
    };
    near.entries.iter().map(line).collect()
}

fn name(proximity: Proximity) -> &'static str {
    match proximity {
        Proximity::SameFunction => "same_function",
        Proximity::SameSwitch { .. } => "same_switch",
        Proximity::SameRoot => "same_root",
        Proximity::SameNuma => "same_numa",
        Proximity::OtherNuma => "other_numa",
        Proximity::Unknown => "unknown",
        other => panic!("{other:?} has no name in this test"),
    }
}

/// The interpreter that `NEARFAB_PYTHON` names has the module; `cargo xtask test` makes one.
pub(crate) fn interpreter() -> Option<OsString> {
    let interpreter = env::var_os("NEARFAB_PYTHON");
    if interpreter.is_none() {
        skipped("the Python face", "NEARFAB_PYTHON names no interpreter that has nearfab");
    }
    interpreter
}

#[test]
fn rust_c_and_python_give_the_same_answer() {
    let c = Program::compile("the C face", "capi/tests/c/near_core.c", Linked::Dynamically);
    let python = interpreter();
    for instance_type in ["trn1.32xlarge", "trn2.48xlarge"] {
        let folder = tempfile::tempdir().unwrap();
        let table = InstanceTable::find(instance_type).unwrap();
        nearfab_emu::write_tree_with(table, &[Defect::NoCoreStatistics], folder.path()).unwrap();
        let arguments = [folder.path().to_str().unwrap(), DEVICE, CORE];

        let expected = rust(folder.path());
        assert_eq!(expected.lines().count(), table.efa.len());
        if let Some(program) = &c {
            assert_eq!(program.run(&arguments), expected, "C on {instance_type}");
        }
        if let Some(interpreter) = &python {
            let script = top().join("python/tests/near_core.py");
            let answer = run(Command::new(interpreter).arg(script).args(arguments));
            assert_eq!(answer, expected, "Python on {instance_type}");
        }
    }
}
