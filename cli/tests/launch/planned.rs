//! Plans and shell commands that are printed and not started.

use super::{nearfab, stdout, support, tree};

/// The CPUs of the ranks on a trn2.48xlarge, calculated by hand. NUMA node 0 has the devices 4 to 11, the CPUs 0 to 47 and their
/// second threads 96 to 143. NUMA node 1 has the devices 0 to 3 and 12 to 15, the CPUs 48 to 95 and 144 to 191. Each rank has six
/// cores.
const CPUS: [&str; 16] = [
    "48-53,144-149",
    "54-59,150-155",
    "60-65,156-161",
    "66-71,162-167",
    "0-5,96-101",
    "6-11,102-107",
    "12-17,108-113",
    "18-23,114-119",
    "24-29,120-125",
    "30-35,126-131",
    "36-41,132-137",
    "42-47,138-143",
    "72-77,168-173",
    "78-83,174-179",
    "84-89,180-185",
    "90-95,186-191",
];

/// For the table, and for a tree, whose kernel shows which CPUs are threads of one core.
#[test]
fn dry_run_on_trn2_has_the_calculated_cores_and_cpus() {
    let tree = tree("trn2.48xlarge");
    for host in [["--instance", "trn2.48xlarge"], ["--root", tree.path().to_str().unwrap()]] {
        let text = stdout(nearfab().args(["run", "-n", "16", "--dry-run"]).args(host).args(["--", "train", "a b"]));
        let expected = (0..16).map(|rank| {
            format!(
                "env LOCAL_RANK={rank} LOCAL_WORLD_SIZE=16 FI_EFA_USE_DEVICE_RDMA=1 FI_HMEM=neuron FI_PROVIDER=efa \
                 NEURON_LOGICAL_NC_CONFIG=2 NEURON_RT_VISIBLE_CORES={}-{} taskset -c {} train 'a b'\n",
                4 * rank,
                4 * rank + 3,
                CPUS[rank],
            )
        });
        // A host with an old kernel would need one more variable.
        assert_eq!(text, expected.collect::<String>(), "{host:?}");
    }
}

/// AWS publishes the pairs.
#[test]
fn each_rank_has_the_interface_that_aws_pairs_with_its_device() {
    let published: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/captured/neuron-efa-pairs.json")).unwrap();
    for instance_type in ["trn1.32xlarge", "trn1n.32xlarge", "trn2.48xlarge", "trn3p.48xlarge"] {
        let pairs = &published["neuron_to_efa"][published["instance_types"][instance_type].as_str().unwrap()];
        let text = stdout(nearfab().args(["plan", "-n", "16", "-o", "json", "--instance", instance_type]));
        let plan: serde_json::Value = serde_json::from_str(&text).unwrap();
        for (device, rank) in plan["ranks"].as_array().unwrap().iter().enumerate() {
            let near = rank["near"].as_array().unwrap();
            assert_eq!(near.len(), 1);
            assert_eq!(near[0]["of"], format!("neuron{device}"));
            assert_eq!(near[0]["entries"][0]["target"], pairs[device.to_string()], "{instance_type}, {device}");
            assert_eq!(near[0]["entries"][0]["evidence"]["by"], "table");
        }
    }
}

#[test]
fn shell_reads_the_exported_environment_and_the_dry_run() {
    let script = format!(
        "eval \"$({} plan -n 16 --export 3 --instance trn2.48xlarge)\"; echo $NEURON_RT_VISIBLE_CORES $FI_PROVIDER",
        super::NEARFAB
    );
    assert_eq!(stdout(std::process::Command::new("sh").args(["-c", &script])), "12-15 efa\n");
    let lines = stdout(nearfab().args([
        "run",
        "-n",
        "16",
        "--dry-run",
        "--instance",
        "trn2.48xlarge",
        "--",
        "printf",
        "%s",
        "it's $HOME",
    ]));
    let words = lines.lines().next().unwrap().split_once("taskset -c 48-53,144-149 ").unwrap().1;
    assert_eq!(stdout(std::process::Command::new("sh").args(["-c", words])), "it's $HOME");
}

/// The shell keeps its values, as the ranks of `run` do.
#[test]
fn exported_defaults_keep_the_values_of_the_shell() {
    let after = |instance_type: &str, names: &str| {
        let script = format!(
            "FI_PROVIDER=tcp CUDA_DEVICE_ORDER=FASTEST_FIRST; eval \"$({} plan -n 2 --export 1 --instance {instance_type})\"; \
             echo {names}; printenv FI_PROVIDER",
            super::NEARFAB
        );
        stdout(std::process::Command::new("sh").args(["-c", &script]))
    };
    assert_eq!(after("trn2.48xlarge", "$NEURON_RT_VISIBLE_CORES $FI_HMEM"), "32-63 neuron\ntcp\n");
    assert_eq!(after("p4d.24xlarge", "$CUDA_VISIBLE_DEVICES $CUDA_DEVICE_ORDER"), "4,5,6,7 PCI_BUS_ID\ntcp\n");
}

#[test]
fn narrowing_names_the_interfaces_of_the_host() {
    let tree = tree("trn2.48xlarge");
    let root = tree.path().to_str().unwrap();
    let text = stdout(nearfab().args(["plan", "-n", "16", "--only-near-efa", "--export", "5", "--root", root]));
    assert!(text.contains("export FI_EFA_IFACE=rdmap87s0\n"), "{text}");
    let text = stdout(nearfab().args(["plan", "-n", "16", "--export", "5", "--root", root]));
    assert!(!text.contains("FI_EFA_IFACE"), "only with --only-near-efa: {text}");
}

#[test]
fn impossible_plans_are_explained() {
    let message = |arguments: &[&str]| support::error(1, arguments);
    let on = ["--instance", "trn2.48xlarge"];
    assert!(
        message(&[&["plan", "-n", "12"], &on[..]].concat())
            .contains("numbers of ranks that fit: 1, 2, 4, 8, 16, 32, 64")
    );
    assert!(
        message(&[&["plan", "-n", "16", "--export", "16"], &on[..]].concat())
            .contains("no rank 16: its ranks are 0 to 15")
    );
    let cores = message(&["plan", "-n", "65", "--instance", "c7gn.16xlarge"]);
    assert!(cores.contains("64 CPU cores cannot be divided among 65 ranks"), "{cores}");
    for command in ["run", "bind"] {
        let output = nearfab().args([command, "-n", "16"]).args(on).args(["--", "true"]).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains("start processes on this machine, and --instance names another host"), "{message}");
    }
}
