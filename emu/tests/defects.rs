//! Tests of defects: their texts, their combinations, and the error for a defect that does not apply.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::collections::BTreeSet;
use std::process::Command;

use nearfab::instances::{InstanceTable, tables};
use nearfab::{Host, NodeAccess};
use nearfab_emu::{Defect, NeuronDriver, write_tree_with};

const EMU: &str = env!("CARGO_BIN_EXE_nearfab-emu");

/// Returns the part of a defect's text before its value.
fn name(form: &str) -> &str {
    form.split('=').next().unwrap()
}

#[test]
fn every_defect_parses_from_its_text_and_every_form_occurs() {
    let all: Vec<Defect> = tables().iter().flat_map(Defect::all).collect();
    let texts: BTreeSet<String> = all.iter().map(Defect::to_string).collect();
    for defect in &all {
        assert_eq!(defect.to_string().parse().as_ref(), Ok(defect));
    }
    let written: BTreeSet<&str> = texts.iter().map(|text| name(text)).collect();
    let forms: BTreeSet<&str> = Defect::FORMS.iter().map(|(form, _)| name(form)).collect();
    assert_eq!(written, forms);
    for wrong in
        ["", "no-numa=1", "efa-attached", "efa-attached=many", "container=", "efa-without-rdma=here", "surprise"]
    {
        let error = wrong.parse::<Defect>().unwrap_err().to_string();
        assert!(error.contains(&format!("{wrong:?}")) && error.contains("efa-attached=N"), "{error}");
    }
}

#[test]
fn defect_that_does_not_apply_is_an_error_and_writes_nothing() {
    let bdf = |text: &str| text.parse().unwrap();
    for (instance_type, defect) in [
        ("p5.48xlarge", Defect::NeuronDriverUnbound),
        ("p5.48xlarge", Defect::NeuronDriver(NeuronDriver::V2_31)),
        ("inf2.48xlarge", Defect::EfaAttached(1)),
        ("trn2.48xlarge", Defect::EfaAttached(16)),
        ("trn2.48xlarge", Defect::EfaAttached(0)),
        ("trn2.48xlarge", Defect::NeuronNodeMissing(16)),
        ("trn2.48xlarge", Defect::VerbsNodeRefused(16)),
        ("trn2.48xlarge", Defect::Container((0..16).collect())),
        ("trn2.48xlarge", Defect::EfaWithoutRdma(bdf("0000:cc:00.0"))),
        ("trn2.48xlarge", Defect::Garbage("sys/../../etc/passwd".to_owned())),
        ("trn2.48xlarge", Defect::Garbage("/etc/passwd".to_owned())),
        ("trn3.48xlarge", Defect::NeuronDriver(NeuronDriver::V2_24)),
        ("inf1.24xlarge", Defect::NeuronDriver(NeuronDriver::V2_30)),
        ("p6-b200.48xlarge", Defect::Mlx5First),
    ] {
        let table = InstanceTable::find(instance_type).unwrap();
        assert!(!defect.applies(table) && !Defect::all(table).contains(&defect), "{defect}");
        let dir = tempfile::tempdir().unwrap();
        let error = write_tree_with(table, std::slice::from_ref(&defect), dir.path()).unwrap_err();
        assert_eq!(error.to_string(), format!("the defect {defect} does not apply to {instance_type}"));
        assert_eq!(dir.path().read_dir().unwrap().count(), 0);
    }
}

#[test]
fn combined_defects_all_take_effect() {
    let dir = tempfile::tempdir().unwrap();
    let table = InstanceTable::find("trn2.48xlarge").unwrap();
    let defects = [
        Defect::NoCoreStatistics,
        Defect::EfaAttached(15),
        Defect::Mlx5First,
        Defect::Container(vec![13, 14]),
        Defect::VerbsNodeMissing(2),
        Defect::NoNuma,
    ];
    write_tree_with(table, &defects, dir.path()).unwrap();
    let host = Host::from_root(dir.path()).unwrap();
    assert_eq!(host.problems(), [""; 0]);
    assert_eq!((host.efa_interfaces().len(), host.other_rdma().len()), (15, 2));
    // The first interface by address is not attached. The number of the next interface follows the numbers of the two
    // ConnectX functions.
    assert_eq!(host.efa_interfaces()[0].address().to_string(), "0000:57:00.0");
    assert_eq!((host.efa_interfaces()[0].uverbs, host.efa_interfaces()[0].access), (Some(2), NodeAccess::Missing));
    let granted = host.neuron_devices().iter().filter(|device| device.access == NodeAccess::Granted);
    assert_eq!(granted.map(|device| device.index.0).collect::<Vec<_>>(), [13, 14]);
    assert!(host.efa_interfaces().iter().all(|efa| efa.function.numa.is_none()));
}

#[test]
fn defect_that_removes_a_file_of_another_defect_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let table = InstanceTable::find("trn2.48xlarge").unwrap();
    let defects = [Defect::NoCoreStatistics, Defect::EfaAttached(1), Defect::VerbsNodeMissing(9)];
    let error = write_tree_with(table, &defects, dir.path()).unwrap_err();
    assert!(error.to_string().contains("dev/infiniband/uverbs9"), "{error}");
}

#[test]
fn program_accepts_and_lists_defects() {
    let help = String::from_utf8(Command::new(EMU).arg("--help").output().unwrap().stdout).unwrap();
    for (form, about) in Defect::FORMS {
        assert!(help.contains(form) && help.contains(about), "{form}: {help}");
    }
    let dir = tempfile::tempdir().unwrap();
    let run = |defects: &[&str]| {
        let mut command = Command::new(EMU);
        command.arg("trn1.2xlarge").arg(dir.path().join("tree"));
        command.args(defects.iter().flat_map(|defect| ["--defect", defect])).output().unwrap()
    };
    for (wrong, reason) in [("surprise", "invalid defect"), ("efa-attached=1", "does not apply to trn1.2xlarge")] {
        let output = run(&[wrong]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && stderr.contains(reason), "{stderr}");
    }
    assert!(run(&["unknown-product", "neuron-driver=2.28"]).status.success());
    let host = Host::from_root(dir.path().join("tree")).unwrap();
    assert_eq!(host.instance_type(), Some("trn9.48xlarge"));
    assert_eq!(host.neuron_driver().unwrap().version.as_deref(), Some("2.28.0.0"));
}
