//! Rust, C and Python give the same answer for the same tree.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use nearfab::instances::InstanceTable;
use nearfab::{Basis, Bdf, Host, Near, Proximity};
use nearfab_emu::{Defect, skipped};

use crate::support::{Linked, Program, run, top};

/// Returns a line for each interface (rank, address, proximity, evidence), then a line for each nearest interface.
fn rust(tree: &Path, device: u32) -> String {
    let host = Host::from_root(tree).unwrap();
    let near = host.near_core(format!("neuron{device}:0").parse().unwrap(), Basis::Pairing).unwrap();
    let line =
        |near: &Near<Bdf>| format!("{}\t{}\t{}\t{}\n", near.rank, near.target, name(near.proximity), near.evidence);
    let nearest = near.nearest().map(|near| format!("nearest\t{}\n", near.target));
    near.entries.iter().map(line).chain(nearest).collect()
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

/// Returns the interpreter that `NEARFAB_PYTHON` names. This interpreter has the module nearfab. `cargo xtask test`
/// sets the variable.
pub(crate) fn interpreter() -> Option<OsString> {
    let interpreter = env::var_os("NEARFAB_PYTHON");
    if interpreter.is_none() {
        skipped("the Python interface", "NEARFAB_PYTHON is not set to an interpreter that has nearfab");
    }
    interpreter
}

/// Compares pairs on trn1 and trn2, a host without EFA interfaces, and a host without known pairs and places.
#[test]
fn rust_c_and_python_give_the_same_answer() {
    let c = Program::compile("the C interface", "capi/tests/c/near_core.c", Linked::Dynamically);
    let python = interpreter();
    let cases = [
        ("trn1.32xlarge", 5, None, 8, 1),
        ("trn2.48xlarge", 5, None, 16, 1),
        ("trn1.2xlarge", 0, None, 0, 0),
        ("trn2.48xlarge", 5, Some(Defect::UnknownProduct), 16, 0),
    ];
    for (instance_type, device, defect, listed, nearest) in cases {
        let folder = tempfile::tempdir().unwrap();
        let table = InstanceTable::find(instance_type).unwrap();
        let defects: Vec<Defect> = defect.into_iter().chain([Defect::NoCoreStatistics]).collect();
        nearfab_emu::write_tree_with(table, &defects, folder.path()).unwrap();
        let device_text = device.to_string();
        let arguments = [folder.path().to_str().unwrap(), &device_text, "0"];

        let expected = rust(folder.path(), device);
        assert_eq!(expected.lines().count(), listed + nearest, "{instance_type} {defects:?}: {expected}");
        if let Some(program) = &c {
            assert_eq!(program.run(&arguments), expected, "C on {instance_type} {defects:?}");
        }
        if let Some(interpreter) = &python {
            let script = top().join("python/tests/near_core.py");
            let answer = run(Command::new(interpreter).arg(script).args(arguments));
            assert_eq!(answer, expected, "Python on {instance_type} {defects:?}");
        }
    }
}
