//! What people and programs read: the console blocks of README.md are real, JSON comes back as the same host, errors
//! say what to do.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::process::{Command, Output};

use nearfab::Host;

fn nearfab(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nearfab")).args(arguments).output().unwrap()
}

fn stdout(arguments: &[&str]) -> String {
    let output = nearfab(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn readme_shows_real_output() {
    trycmd::TestCases::new().case("../README.md");
}

#[test]
fn recorded_host_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("host.json");
    let recorded = stdout(&["list", "-o", "json", "--instance", "trn1.32xlarge"]);
    std::fs::write(&file, &recorded).unwrap();
    assert_eq!(Host::from_file(&file).unwrap(), Host::from_instance("trn1.32xlarge").unwrap());
    assert_eq!(stdout(&["list", "-o", "json", "--host", file.to_str().unwrap()]), recorded);
}

#[test]
fn near_in_json_names_rank_target_and_evidence() {
    let text = stdout(&["near", "neuron5:0", "-o", "json", "--instance", "trn2.48xlarge"]);
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["of"], "neuron5:0");
    assert_eq!(answer["entries"][0]["rank"], 1);
    assert_eq!(answer["entries"][0]["target"], "0000:57:00.0");
    assert_eq!(answer["entries"][0]["evidence"]["by"], "table");
    assert_eq!(answer["entries"][1]["evidence"]["proximity"]["kind"], "same_switch");
    assert_eq!(answer["entries"].as_array().unwrap().len(), 16);
}

#[test]
fn tie_is_printed_as_a_tie() {
    let text = stdout(&["near", "neuron5", "--by-place", "--instance", "trn2.48xlarge"]);
    assert!(text.contains("2 are equally near: a tie of rank 1."), "{text}");
    assert!(!text.contains("table"), "{text}");
}

#[test]
fn empty_host_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let text = stdout(&["list", "--root", dir.path().to_str().unwrap()]);
    assert!(text.contains("no Neuron device, no EFA interface"), "{text}");
}

#[test]
fn errors_say_what_was_expected() {
    let complaint = |arguments: &[&str]| {
        let output = nearfab(arguments);
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(complaint(&["list", "--instance", "trn9"]).contains("there are tables for: c7gn.16xlarge, g5.48xlarge, "));
    assert!(complaint(&["near", "eth0", "--instance", "trn2.48xlarge"]).contains("a core (neuron5:0)"));
    assert!(complaint(&["list", "--root", "/nowhere"]).contains("cannot read /nowhere: "));
    assert!(complaint(&["list", "--host", "/etc/hostname"]).contains("/etc/hostname is not a recorded host"));
}
