//! What is printed and not started.

use super::{nearfab, stdout, text, tree};

/// The CPUs of the ranks on a trn2.48xlarge, worked out by hand: NUMA node 0 has the cores with the CPUs 0 to 47 and their second
/// threads from 96 on, for the devices 4 to 11, node 1 the cores from 48 to 95, with 144 to 191, for 0 to 3 and 12 to 15. Six
/// cores each.
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

/// Of the table, and of the tree whose kernel tells which CPUs are one core.
#[test]
fn dry_run_on_trn2_is_as_worked_out_by_hand() {
    let tree = tree("trn2.48xlarge");
    for host in [["--instance", "trn2.48xlarge"], ["--root", tree.path().to_str().unwrap()]] {
        let said = stdout(nearfab().args(["run", "-n", "16", "--dry-run"]).args(host).args(["--", "train", "a b"]));
        let expected = (0..16).map(|rank| {
            format!(
                "env LOCAL_RANK={rank} LOCAL_WORLD_SIZE=16 FI_EFA_USE_DEVICE_RDMA=1 FI_HMEM=neuron FI_PROVIDER=efa \
                 NEURON_LOGICAL_NC_CONFIG=2 NEURON_RT_VISIBLE_CORES={}-{} taskset -c {} train 'a b'\n",
                4 * rank,
                4 * rank + 3,
                CPUS[rank],
            )
        });
        // The emulated host has a kernel of its own, on which a variable more may be needed.
        assert_eq!(said, expected.collect::<String>(), "{host:?}");
    }
}

/// AWS publishes which interface is whose.
#[test]
fn each_rank_has_the_interface_that_aws_pairs_with_its_device() {
    let published: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/captured/neuron-efa-pairs.json")).unwrap();
    for instance_type in ["trn1.32xlarge", "trn1n.32xlarge", "trn2.48xlarge", "trn3p.48xlarge"] {
        let pairs = &published["neuron_to_efa"][published["instance_types"][instance_type].as_str().unwrap()];
        let said = stdout(nearfab().args(["plan", "-n", "16", "-o", "json", "--instance", instance_type]));
        let plan: serde_json::Value = serde_json::from_str(&said).unwrap();
        for (device, rank) in plan["ranks"].as_array().unwrap().iter().enumerate() {
            let near = rank["near"].as_array().unwrap();
            assert_eq!(near.len(), 1);
            assert_eq!(near[0]["of"], format!("neuron{device}"));
            assert_eq!(near[0]["entries"][0]["target"], pairs[device.to_string()], "{instance_type}, {device}");
            assert_eq!(near[0]["entries"][0]["evidence"]["by"], "table");
        }
    }
}

/// The shell understands what is printed as it was meant.
#[test]
fn environment_is_printed_for_a_shell() {
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

/// In a shell as in what `run` starts.
#[test]
fn what_is_set_in_the_shell_stays_where_it_is_a_default() {
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
    let said = stdout(nearfab().args(["plan", "-n", "16", "--only-near-efa", "--export", "5", "--root", root]));
    assert!(said.contains("export FI_EFA_IFACE=rdmap87s0\n"), "{said}");
    let said = stdout(nearfab().args(["plan", "-n", "16", "--export", "5", "--root", root]));
    assert!(!said.contains("FI_EFA_IFACE"), "only where asked for: {said}");
}

#[test]
fn what_cannot_be_planned_says_why() {
    let complaint = |arguments: &[&str]| {
        let output = nearfab().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        text(&output.stderr)
    };
    let on = ["--instance", "trn2.48xlarge"];
    assert!(complaint(&[&["plan", "-n", "12"], &on[..]].concat()).contains("numbers that fit: 1, 2, 4, 8, 16, 32, 64"));
    assert!(complaint(&[&["plan", "-n", "16", "--export", "16"], &on[..]].concat()).contains("no rank 16 of 16"));
    assert!(complaint(&["plan", "-n", "1", "--instance", "c7gn.16xlarge"]).contains("this host has neither"));
    for command in ["run", "bind"] {
        assert!(
            complaint(&[&[command, "-n", "16"], &on[..], &["--", "true"]].concat())
                .contains("on this machine, which a table")
        );
    }
}
