//! C programs that test the contract of each function, and the C example.

use std::fs;

use nearfab::instances::InstanceTable;
use nearfab_emu::Defect;

use crate::support::{Linked, Program, read_elf, top};

/// Compiles a test program and runs it, then runs it again under valgrind.
fn check(test: &str, source: &str) {
    if let Some(program) = Program::compile(test, source, Linked::Dynamically) {
        program.run(&[]);
        program.run_under_valgrind(test, &[]);
    }
}

#[test]
fn wrong_handles_are_errors() {
    check("wrong_handles_are_errors", "capi/tests/c/handles.c");
}

#[test]
fn wrong_arguments_are_errors() {
    check("wrong_arguments_are_errors", "capi/tests/c/arguments.c");
}

#[test]
fn threads_do_not_disturb_each_other() {
    check("threads_do_not_disturb_each_other", "capi/tests/c/threads.c");
}

#[test]
fn a_recorded_host_is_read_back_and_its_missing_pair_is_reported() {
    let test = "a_recorded_host_is_read_back_and_its_missing_pair_is_reported";
    let Some(program) = Program::compile(test, "capi/tests/c/records.c", Linked::Dynamically) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (tree, record) = (folder.path().join("tree"), folder.path().join("host.json"));
    let table = InstanceTable::find("trn2.48xlarge").unwrap();
    nearfab_emu::write_tree_with(table, &[Defect::NoCoreStatistics], &tree).unwrap();
    fs::remove_file(tree.join("sys/bus/pci/devices/0000:57:00.0")).unwrap();

    // The program does not run under valgrind: the valgrind of Debian 12 does not know openat2(2), and nearfab reads
    // trees with openat2(2).
    program.run(&[tree.to_str().unwrap(), record.to_str().unwrap()]);
}

#[test]
fn handles_stay_valid_after_dlclose_and_the_next_dlopen() {
    let test = "handles_stay_valid_after_dlclose_and_the_next_dlopen";
    let Some(program) = Program::compile(test, "capi/tests/c/reloaded.c", Linked::AtRunTime) else { return };
    program.run(&[&program.library()]);
    program.run_under_valgrind(test, &[&program.library()]);
}

#[test]
fn the_library_has_its_name_and_the_flag_nodelete() {
    let test = "the_library_has_its_name_and_the_flag_nodelete";
    let Some(dynamic_section) = read_elf(test, &["--dynamic", "--wide"]) else { return };
    let has = |tag: &str, value: &str| dynamic_section.lines().any(|line| line.contains(tag) && line.contains(value));
    assert!(has("(SONAME)", "[libnearfab.so.0]"), "{dynamic_section}");
    assert!(has("(FLAGS_1)", "NODELETE"), "{dynamic_section}");
}

#[test]
fn the_example_prints_every_core_with_its_evidence() {
    let test = "the_example_prints_every_core_with_its_evidence";
    let Some(program) = Program::compile(test, "examples/c/near.c", Linked::Dynamically) else { return };
    let output = program.run(&["--instance", "trn2.48xlarge"]);
    assert_eq!(output.lines().count(), 128);
    assert!(output.contains("neuron5:0\t0000:57:00.0\ttable trn2.48xlarge\n"), "{output}");
    program.run_under_valgrind(test, &["--instance", "trn2.48xlarge"]);
    program.run(&[]);
}

#[test]
fn the_documentation_shows_what_the_example_prints() {
    let test = "the_documentation_shows_what_the_example_prints";
    let Some(program) = Program::compile(test, "examples/c/near.c", Linked::Dynamically) else { return };
    let output = program.run(&["--instance", "trn1.32xlarge"]);
    let first: String = output.split_inclusive('\n').take(4).collect();
    let page = fs::read_to_string(top().join("docs/reference/c.md")).unwrap();
    assert!(page.contains(&format!("$ ./near --instance trn1.32xlarge | head -4\n{first}")), "{first}");
}

#[test]
fn the_example_says_that_nothing_is_known_instead_of_naming_an_interface() {
    let test = "the_example_says_that_nothing_is_known_instead_of_naming_an_interface";
    let Some(program) = Program::compile(test, "examples/c/near.c", Linked::Dynamically) else { return };
    let folder = tempfile::tempdir().unwrap();
    let table = InstanceTable::find("trn2.48xlarge").unwrap();
    let defects = [Defect::UnknownProduct, Defect::NoCoreStatistics];
    nearfab_emu::write_tree_with(table, &defects, folder.path()).unwrap();
    let output = program.run(&["--root", folder.path().to_str().unwrap()]);
    assert_eq!(output.lines().count(), 128);
    assert!(output.lines().all(|line| line.ends_with("\t-\tno EFA interface is known to be near")), "{output}");
}

#[test]
fn the_example_links_statically() {
    let test = "the_example_links_statically";
    let Some(program) = Program::compile(test, "examples/c/near.c", Linked::Statically) else { return };
    assert_eq!(program.run(&["--instance", "trn1.32xlarge"]).lines().count(), 32);
}
