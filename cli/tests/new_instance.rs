//! A new instance type needs one file in data/, and no other change.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const FILE: &str = r#"
instance_type = "trn9.test"
neuron_product = "Trainium2"
efa_device_id = 0xefa2

[sources]
cpus = { grade = "published", text = "this test" }
numa = { grade = "published", text = "this test" }
neuron = { grade = "published", text = "this test" }
efa = { grade = "published", text = "this test" }
efa_device_id = { grade = "published", text = "this test" }
path = { grade = "published", text = "this test" }
pairing = { grade = "published", text = "this test" }

[[numa]]
node = 0
cpus = "0-7"

[[neuron]]
index = 0
address = "0000:0a:00.0"
numa = 0
efa = "0000:0a:01.0"

[[efa]]
address = "0000:0a:01.0"
numa = 0
"#;

#[test]
fn one_file_makes_a_new_type() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    // Always the same folder, so that only the first run builds the dependencies.
    let bed = top.join("target/new-instance");
    let copy = bed.join("workspace");
    if copy.exists() {
        fs::remove_dir_all(&copy).expect("removing the last copy");
    }
    for file in sources(top) {
        let to = copy.join(&file);
        fs::create_dir_all(to.parent().expect("a folder")).expect("making a folder");
        fs::copy(top.join(&file), to).expect("copying the workspace");
    }
    let new = copy.join("data/instances/trn9.test.toml");

    fs::write(&new, FILE).expect("adding a file");
    let topo = topo(&copy, &bed);
    let text = String::from_utf8_lossy(&topo.stdout);
    assert!(topo.status.success(), "{}", String::from_utf8_lossy(&topo.stderr));
    for expected in ["trn9.test", "neuron0", "0000:0a:01.0 (table trn9.test)"] {
        assert!(text.contains(expected), "{expected} is not in:\n{text}");
    }

    fs::write(&new, FILE.replace("pairing =", "# pairing =")).expect("changing the file");
    let refused = self::topo(&copy, &bed);
    assert!(!refused.status.success());
    let reason = String::from_utf8_lossy(&refused.stderr);
    assert!(reason.contains("trn9.test.toml: sources.pairing is missing"), "{reason}");
}

/// Returns the files that git tracks or would add: no build output.
fn sources(top: &Path) -> Vec<PathBuf> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listed = Command::new("git").current_dir(top).args(arguments).output().expect("git ls-files");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).expect("names in UTF-8");
    names.split_terminator('\0').map(PathBuf::from).filter(|path| top.join(path).is_file()).collect()
}

fn topo(copy: &Path, bed: &Path) -> Output {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(copy).env("CARGO_TARGET_DIR", bed.join("target"));
    cargo.args(["run", "--quiet", "--offline", "--locked", "--package", "nearfab-cli", "--"]);
    cargo.args(["topo", "--instance", "trn9.test"]).output().expect("running cargo")
}
