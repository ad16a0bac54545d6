//! `nearfab rails`: its forms for other programs, and its options.

use std::process::Command;

use crate::support::{error, nearfab, stdout};

const ON: [&str; 2] = ["--instance", "p5en.48xlarge"];

#[test]
fn rails_of_one_accelerator_are_one_line() {
    let text = stdout(&[&["rails", "0000:5a:00.0"], &ON[..]].concat());
    assert!(
        text.contains("0000:5a:00.0  0000:57:00.0,0000:58:00.0  -     0     1          same PCIe switch"),
        "{text}"
    );
    let shared = stdout(&[&["rails", "0000:5a:00.0", "--shared"], &ON[..]].concat());
    assert!(shared.contains("0000:55:00.0,0000:56:00.0,0000:57:00.0,0000:58:00.0"), "{shared}");
    let memory = stdout(&[&["rails", "numa1"], &ON[..]].concat());
    assert!(memory.contains("same NUMA node") && !memory.contains("SHARED BY"), "{memory}");
}

#[test]
fn forms_of_programs_are_the_only_output() {
    let tree = tempfile::tempdir().unwrap();
    nearfab_emu::write_tree(nearfab::instances::InstanceTable::find("p5en.48xlarge").unwrap(), tree.path()).unwrap();
    let root = ["--root", tree.path().to_str().unwrap()];
    let text = |arguments: &[&str]| stdout(&[arguments, &root].concat());
    assert_eq!(text(&["rails", "0000:59:00.0", "--for", "libfabric"]), "FI_EFA_IFACE=rdmap85s0,rdmap86s0\n");
    assert_eq!(text(&["rails", "0000:59:00.0", "--for", "ucx"]), "UCX_NET_DEVICES=rdmap85s0:1,rdmap86s0:1\n");
    assert!(text(&["rails", "--for", "mooncake"]).starts_with("{\"cpu:0\":[["));
    assert!(text(&["rails", "--for", "sglang"]).starts_with("{\"0\":\"rdmap85s0,rdmap86s0\""));
    assert_eq!(text(&["rails", "--for", "cpu-mask"]).matches("0x").count(), 8);
    let several = error(1, &[&["rails", "--for", "uccl"], &root[..]].concat());
    assert!(several.contains("name its accelerator"), "{several}");
    let two = nearfab(&[&["rails", "--for", "ucx", "-o", "json"], &root[..]].concat());
    assert_eq!((two.status, two.stdout.as_str()), (2, ""), "{}", two.stderr);
}

/// The numbers are those of a process with the environment of nearfab.
#[test]
fn numbers_follow_cuda_visible_devices() {
    let tree = tempfile::tempdir().unwrap();
    nearfab_emu::write_tree(nearfab::instances::InstanceTable::find("p5en.48xlarge").unwrap(), tree.path()).unwrap();
    let of = |visible: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nearfab"));
        command.env("CUDA_VISIBLE_DEVICES", visible).args(["rails", "--for", "sglang", "--root"]).arg(tree.path());
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(of("1,0").1, "{\"0\":\"rdmap87s0,rdmap88s0\",\"1\":\"rdmap85s0,rdmap86s0\"}\n");
    let (status, stdout, stderr) = of("MIG-41b35e88");
    assert_eq!((status, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("MIG"), "{stderr}");
}
