//! The text views of one host of each family, compared with the files in `tests/snapshots` in a few seconds.
//!
//! The commands together use every table of an instance type, every scanner, and every view. `SNAPSHOTS=overwrite cargo test -p
//! nearfab-cli --test views quick` writes the files anew.

use std::fmt::Write as _;
use std::path::Path;

use nearfab::instances::InstanceTable;
use nearfab_emu::Defect;

use crate::hosts::{contain, folder, remove_type_name, tree, tree_with};
use crate::support::{Output, compare, nearfab};

/// The views of an instance table.
const OF_TABLES: [&str; 6] = ["list", "list -o wide", "topo", "topo matrix", "topo links", "rails"];
/// The views of an emulated host of a type with a table.
const OF_TREES: [&str; 5] = ["list -o wide", "topo -o wide", "topo matrix -o wide", "doctor", "verify"];
/// The views of an emulated host that has no snapshot of its table.
const OF_ODD_TREES: [&str; 8] =
    ["list", "list -o wide", "topo", "topo matrix", "topo links", "rails", "doctor", "verify"];

/// A host, and the arguments of the commands that show the host.
struct Family<'a> {
    /// The instance type, or the name of the snapshot of an odd host.
    name: &'a str,
    /// The names that `near` is given.
    near: &'a [&'a str],
    /// The numbers of ranks that `plan` is given.
    ranks: &'a [u32],
}

impl Family<'_> {
    fn commands(&self, views: &[&str]) -> Vec<String> {
        let near = self.near.iter().map(|name| format!("near {name}"));
        let plans = self.ranks.iter().map(|ranks| format!("plan -n {ranks}"));
        views.iter().map(|view| (*view).to_owned()).chain(near).chain(plans).collect()
    }

    /// Compares the views of the table and the views of an emulated host with the file of the family.
    fn compare(&self) {
        let mut text = String::new();
        show(&mut text, &format!("instances {}", self.name), None);
        for command in self.commands(&OF_TABLES) {
            show(&mut text, &command, Some(("--instance", self.name)));
        }
        let dir = folder();
        tree(self.name, dir.path());
        self.show_tree(&mut text, dir.path(), &OF_TREES);
        compare_snapshot(self.name, &text);
    }

    /// Compares the views of an emulated host that `change` has changed with the file of the family.
    fn compare_changed(&self, instance_type: &str, change: impl FnOnce(&Path)) {
        self.compare_with_defects(instance_type, &[], change);
    }

    fn compare_with_defects(&self, instance_type: &str, defects: &[Defect], change: impl FnOnce(&Path)) {
        let dir = folder();
        tree_with(InstanceTable::find(instance_type).unwrap(), defects, dir.path());
        change(dir.path());
        let mut text = String::new();
        self.show_tree(&mut text, dir.path(), &OF_ODD_TREES);
        compare_snapshot(self.name, &text);
    }

    fn show_tree(&self, text: &mut String, dir: &Path, views: &[&str]) {
        let root = dir.to_str().unwrap();
        let mut shown = String::new();
        for command in self.commands(views) {
            show(&mut shown, &command, Some(("--root", root)));
        }
        // The folder has another name at each run.
        *text += &shown.replace(root, "/tree");
    }
}

/// Adds a command and its output to the text.
fn show(text: &mut String, command: &str, host: Option<(&str, &str)>) {
    let mut arguments: Vec<&str> = command.split(' ').collect();
    arguments.extend(host.iter().flat_map(|(option, value)| [option, value]));
    let Output { status, stdout, stderr } = nearfab(&arguments);
    writeln!(text, "$ nearfab {}", arguments.join(" ")).unwrap();
    if status != 0 {
        writeln!(text, "? {status}").unwrap();
    }
    writeln!(text, "{stdout}{stderr}").unwrap();
}

fn compare_snapshot(name: &str, text: &str) {
    compare(&Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/snapshots/{name}.txt")), text);
}

#[test]
fn trn1() {
    let near = &["neuron5:0", "nc5", "0000:20:19.0", "0000:20:1b.0"];
    Family { name: "trn1.32xlarge", near, ranks: &[16] }.compare();
}

#[test]
fn trn2() {
    let near = &["neuron5:0", "nc21", "neuron5", "0000:57:00.0", "0000:58:00.0", "rdmap87s0", "neuron5 --by-place"];
    Family { name: "trn2.48xlarge", near, ranks: &[16, 64, 12] }.compare();
}

#[test]
fn trn3() {
    Family { name: "trn3p.48xlarge", near: &["neuron0", "0000:be:00.0"], ranks: &[16] }.compare();
}

#[test]
fn inf2() {
    Family { name: "inf2.24xlarge", near: &["neuron0", "nc1"], ranks: &[6] }.compare();
}

#[test]
fn p4d() {
    Family { name: "p4d.24xlarge", near: &["0000:10:1b.0", "0000:a0:1d.0"], ranks: &[8] }.compare();
}

#[test]
fn p5() {
    Family { name: "p5.48xlarge", near: &["0000:53:00.0", "0000:4f:00.0"], ranks: &[8, 1] }.compare();
}

#[test]
fn p6() {
    let near = &["0000:51:00.0", "0000:4f:00.0", "rdmap79s0", "ibp115s0f0"];
    Family { name: "p6-b200.48xlarge", near, ranks: &[8] }.compare();
}

#[test]
fn g5() {
    Family { name: "g5.48xlarge", near: &["0000:00:16.0", "0000:00:15.0"], ranks: &[8] }.compare();
}

#[test]
fn host_without_accelerators() {
    Family { name: "c7gn.16xlarge", near: &["0000:00:06.0", "neuron0"], ranks: &[1] }.compare();
}

#[test]
fn host_without_devices() {
    Family { name: "m7i.large", near: &["neuron0"], ranks: &[1] }.compare();
}

#[test]
fn host_of_unknown_type() {
    let near = &["0000:58:00.0", "0000:57:00.0", "neuron5"];
    Family { name: "unknown-type", near, ranks: &[16] }.compare_changed("trn2.48xlarge", remove_type_name);
}

#[test]
fn container() {
    for (name, lnc) in [("container-lnc1", 1), ("container-lnc2", 2)] {
        let near = &["nc0", "nc7", "nc8", "neuron9", "neuron0"];
        Family { name, near, ranks: &[2] }.compare_changed("trn2.48xlarge", |dir| contain(dir, &[5, 9], lnc));
    }
}

#[test]
fn gpu_container() {
    let family = Family { name: "gpu-container", near: &["0000:20:1d.0"], ranks: &[2] };
    family.compare_with_defects("p4d.24xlarge", &[Defect::ContainerGpus(vec![3, 4])], |_| ());
}

/// Some interfaces that the table pairs are absent, one interface has no node, and another has no RDMA device. A Neuron
/// function is absent, and the host has ConnectX functions.
#[test]
fn host_with_missing_interfaces() {
    let without_rdma = "0000:6c:00.0".parse().unwrap();
    let defects = [
        Defect::EfaAttached(9),
        Defect::EfaWithoutRdma(without_rdma),
        Defect::VerbsNodeMissing(3),
        Defect::NeuronFunctionGone(2),
        Defect::Mlx5Beside,
    ];
    let near = &["neuron0", "neuron5:0", "0000:6c:00.0"];
    Family { name: "missing-interfaces", near, ranks: &[16] }.compare_with_defects("trn2.48xlarge", &defects, |_| ());
}

#[test]
fn host_without_drivers() {
    let defects = [Defect::NeuronDriverUnbound, Defect::EfaDriverUnbound];
    let near = &["0000:20:1b.0", "0000:20:19.0"];
    Family { name: "drivers-unbound", near, ranks: &[16] }.compare_with_defects("trn1.32xlarge", &defects, |_| ());
}

#[test]
fn shell_commands_of_a_plan() {
    let mut text = String::new();
    for command in [
        "run -n 4 --dry-run --instance trn2.48xlarge -- train.py",
        "run -n 2 --dry-run --instance p4d.24xlarge -- train.py",
        "plan -n 16 --export 3 --instance trn2.48xlarge",
        "plan -n 16 -o wide --instance trn2.48xlarge",
        "plan -n 12 --instance inf2.48xlarge",
    ] {
        show(&mut text, command, None);
    }
    compare_snapshot("plans", &text);
}

#[test]
fn all_instance_types() {
    let mut text = String::new();
    show(&mut text, "instances", None);
    show(&mut text, "instances -o wide", None);
    compare_snapshot("instances", &text);
}

/// The options of all commands are in the help of nearfab only.
#[test]
fn help() {
    let mut text = String::new();
    show(&mut text, "--help", None);
    for command in nearfab_cli::command().get_subcommands() {
        let mut help = String::new();
        show(&mut help, &format!("{} --help", command.get_name()), None);
        let (before, rest) = help.split_once("      --root <DIR>").unwrap();
        let (_, after) = rest.split_once("          Print help (see a summary with '-h')\n").unwrap();
        text += &format!("{before}      ...\n{after}");
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    compare_snapshot("help", &(lines.join("\n") + "\n"));
}
