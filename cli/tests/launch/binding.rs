//! The CPUs and cores of running ranks, on a host whose two NUMA nodes are the CPUs 0 and 1 of this machine: started by nearfab run,
//! and bound by nearfab bind under launchers.

use std::process::Command;

use super::{NEARFAB, nearfab, stdout, text, tree, two_nodes};

/// Prints the rank and the number of ranks, the cores or GPUs, and the CPUs that the kernel allows.
const PRINT_RANK: &str = "echo $LOCAL_RANK/$LOCAL_WORLD_SIZE ${NEURON_RT_VISIBLE_CORES-$CUDA_VISIBLE_DEVICES} \
                   $(sed -n 's/Cpus_allowed_list:\t//p' /proc/self/status)";

fn lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// The devices 4 to 11 are on NUMA node 0, the others on NUMA node 1.
#[test]
fn ranks_run_on_the_cpus_of_their_numa_node() {
    let Some(tree) = two_nodes("launch", "trn2.48xlarge") else { return };
    let output =
        stdout(nearfab().args(["run", "-n", "4", "--root"]).arg(tree.path()).args(["--", "sh", "-c", PRINT_RANK]));
    assert_eq!(lines(&output), ["0/4 0-15 1", "1/4 16-31 0", "2/4 32-47 0", "3/4 48-63 1"]);
}

#[test]
fn ranks_of_gpus_run_on_the_cpus_of_their_numa_node() {
    let Some(tree) = two_nodes("launch", "p4d.24xlarge") else { return };
    let output =
        stdout(nearfab().args(["run", "-n", "2", "--root"]).arg(tree.path()).args(["--", "sh", "-c", PRINT_RANK]));
    assert_eq!(lines(&output), ["0/2 0,1,2,3 0", "1/2 4,5,6,7 1"]);
}

/// No signal is blocked, standard input is empty, and a variable that sets a default keeps its value.
#[test]
fn ranks_start_with_usual_signals_input_and_variables() {
    let Some(tree) = two_nodes("launch", "trn2.48xlarge") else { return };
    let script = "sed -n 's/SigBlk:\t//p' /proc/self/status; cat; echo $FI_PROVIDER $FI_HMEM";
    let mut command = nearfab();
    command.args(["run", "-n", "1", "--root"]).arg(tree.path()).args(["--", "sh", "-c", script]);
    assert_eq!(stdout(command.env("FI_PROVIDER", "tcp")), "0000000000000000\ntcp neuron\n");
}

#[test]
fn cpus_that_are_not_online_are_refused() {
    let tree = tree("trn2.48xlarge");
    // More CPUs than any machine that runs tests has.
    let node = tree.path().join("sys/devices/system/node/node1/cpulist");
    std::fs::remove_file(&node).unwrap();
    std::fs::write(&node, "90000-90007\n").unwrap();
    for command in [&["run", "-n", "16"][..], &["bind", "-n", "16"]] {
        let mut command = nearfab_with(command, tree.path());
        let output = command.env("LOCAL_RANK", "1").output().unwrap();
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains("is assigned CPUs that are not online: 9000"), "{message}");
        assert_eq!(text(&output.stdout), "", "nothing was started");
    }
}

fn nearfab_with(arguments: &[&str], tree: &std::path::Path) -> Command {
    let mut command = nearfab();
    command.args(arguments).arg("--root").arg(tree).args(["--", "sh", "-c", PRINT_RANK]);
    command
}

#[test]
fn run_divides_only_the_cpus_and_cores_of_its_process() {
    let Some(tree) = two_nodes("launch", "trn2.48xlarge") else { return };
    let confined = |cpus: &str| {
        let mut command = Command::new("taskset");
        command
            .args(["-c", cpus, NEARFAB, "run", "-n", "2", "--root"])
            .arg(tree.path())
            .args(["--", "sh", "-c", PRINT_RANK]);
        command.env("NEURON_RT_VISIBLE_CORES", "16-47").output().unwrap()
    };
    assert_eq!(lines(&text(&confined("0").stdout)), ["0/2 16-31 0", "1/2 32-47 0"]);
    let message = text(&confined("1").stderr);
    assert!(message.contains("none of the CPUs of NUMA node 0 (0) is among the given CPUs (1)"), "{message}");
}

/// NEURON_LOGICAL_NC_CONFIG with another LNC than the host, and CUDA_VISIBLE_DEVICES without some of the GPUs.
#[test]
fn variables_that_contradict_the_host_are_refused() {
    for (instance_type, name, bad, good, words) in [
        (
            "trn2.48xlarge",
            "NEURON_LOGICAL_NC_CONFIG",
            "1",
            "2",
            "the logical cores of this host are numbered with LNC 2",
        ),
        ("p4d.24xlarge", "CUDA_VISIBLE_DEVICES", "4,8", "4,5,6,7", "GPU 8 of CUDA_VISIBLE_DEVICES"),
        ("p4d.24xlarge", "CUDA_VISIBLE_DEVICES", "GPU-8b3a", "0,1,2,3,4,5,6,7", "GPU GPU-8b3a of CUDA_VISIBLE_DEVICES"),
    ] {
        let Some(tree) = two_nodes("launch", instance_type) else { return };
        for command in [&["run", "-n", "2"][..], &["bind", "-n", "2"]] {
            let with = |value: &str| {
                let mut command = nearfab_with(command, tree.path());
                command.env("LOCAL_RANK", "1").env(name, value).output().unwrap()
            };
            let refused = with(bad);
            assert_eq!((refused.status.code(), text(&refused.stdout)), (Some(1), String::new()));
            assert!(text(&refused.stderr).contains(words), "{}", text(&refused.stderr));
            assert!(with(good).status.success(), "{}", text(&with(good).stderr));
        }
    }
}

#[test]
fn launching_on_a_host_without_devices_fails() {
    let empty = tempfile::tempdir().unwrap();
    for command in [&["plan", "-n", "2"][..], &["run", "-n", "2", "--", "true"], &["bind", "-n", "2", "--", "true"]] {
        let run = |require: &[&str]| {
            let mut nearfab = nearfab();
            nearfab.args(require).arg("--root").arg(empty.path()).args(command);
            let output = nearfab.env("LOCAL_RANK", "1").output().unwrap();
            (output.status.code(), text(&output.stderr))
        };
        let (status, message) = run(&[]);
        assert_eq!(status, Some(1), "{command:?}: {message}");
        assert!(message.contains("no Neuron device and no EFA interface: "), "{command:?}: {message}");
        assert_eq!(run(&["--require"]).0, Some(3), "{command:?}");
    }
}

#[test]
fn variables_that_abort_the_ranks_are_reported_once() {
    let Some(tree) = two_nodes("launch", "trn2.48xlarge") else { return };
    for command in [&["run", "-n", "4"][..], &["bind", "-n", "4"]] {
        let mut nearfab = nearfab_with(command, tree.path());
        let output = nearfab.env("LOCAL_RANK", "1").env("FI_EFA_MTU_SIZE", "4096").output().unwrap();
        let message = text(&output.stderr);
        assert!(output.status.success(), "{message}");
        let expected =
            "nearfab: FI_EFA_MTU_SIZE makes libfabric's efa provider abort the process: its value is \"4096\"\n";
        assert_eq!(message, expected);
    }
}

#[test]
fn bind_under_mpirun() {
    let Some(tree) = two_nodes("mpirun", "trn2.48xlarge") else { return };
    let mut mpirun = Command::new("mpirun");
    mpirun.args(["--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-n", "4", NEARFAB, "bind", "--root"]);
    mpirun.arg(tree.path()).args(["--", "sh", "-c", &PRINT_RANK.replace("$LOCAL_RANK", "$OMPI_COMM_WORLD_LOCAL_RANK")]);
    match mpirun.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            nearfab_emu::skipped("mpirun", "openmpi-bin is not installed");
        }
        output => {
            let output = output.unwrap();
            assert!(output.status.success(), "{}", text(&output.stderr));
            assert_eq!(lines(&text(&output.stdout)), ["0/ 0-15 1", "1/ 16-31 0", "2/ 32-47 0", "3/ 48-63 1"]);
        }
    }
}

/// A launcher of a few lines, which sets the variables that torchrun sets.
#[test]
fn bind_under_a_launcher_like_torchrun() {
    let Some(tree) = two_nodes("torchrun", "trn2.48xlarge") else { return };
    let launcher =
        r#"for rank in 0 1 2 3; do LOCAL_RANK=$rank LOCAL_WORLD_SIZE=4 RANK=$rank WORLD_SIZE=4 "$@" & done; wait"#;
    let mut command = Command::new("sh");
    command
        .args(["-c", launcher, "torchrun", NEARFAB, "bind", "--root"])
        .arg(tree.path())
        .args(["--", "sh", "-c", PRINT_RANK]);
    assert_eq!(lines(&stdout(&mut command)), ["0/4 0-15 1", "1/4 16-31 0", "2/4 32-47 0", "3/4 48-63 1"]);
}

/// srun gives each task a number and CPUs. The CPUs of tasks 0 and 2 are on the NUMA nodes of these tasks. The CPUs of
/// task 1 are not on its NUMA node.
#[test]
fn bind_under_a_launcher_like_srun() {
    let Some(tree) = two_nodes("srun", "trn2.48xlarge") else { return };
    let task = |rank: &str, cpus: &str| {
        let mut command = Command::new("taskset");
        command.args(["-c", cpus, NEARFAB, "bind", "--root"]).arg(tree.path()).args(["--", "sh", "-c", PRINT_RANK]);
        command.env("SLURM_LOCALID", rank).env("SLURM_NODEID", "1").env("SLURM_STEP_TASKS_PER_NODE", "2,4(x2)");
        command.env_remove("LOCAL_RANK").env_remove("LOCAL_WORLD_SIZE").output().unwrap()
    };
    assert_eq!(text(&task("0", "1").stdout), "/ 0-15 1\n");
    assert_eq!(text(&task("2", "0,1").stdout), "/ 32-47 0\n");
    let refused = task("1", "1");
    assert_eq!((refused.status.code(), text(&refused.stdout)), (Some(1), String::new()));
    let message = text(&refused.stderr);
    assert!(message.contains("none of the CPUs of NUMA node 0 (0) is among the given CPUs (1)"), "{message}");
    assert!(message.contains("srun --cpu-bind=none"), "{message}");
}

#[test]
fn bind_becomes_the_command() {
    let Some(tree) = two_nodes("launch", "trn2.48xlarge") else { return };
    let bind = |command: &[&str]| {
        let mut bind = nearfab();
        bind.env("LOCAL_RANK", "0").args(["bind", "-n", "1", "--root"]).arg(tree.path()).arg("--").args(command);
        bind.output().unwrap()
    };
    assert_eq!(bind(&["sh", "-c", "exit 7"]).status.code(), Some(7));
    assert_eq!(bind(&["/nowhere"]).status.code(), Some(127));
    assert_eq!(bind(&["/"]).status.code(), Some(126));
    let output = nearfab().args(["bind", "--root"]).arg(tree.path()).args(["--", "true"]).output().unwrap();
    assert!(text(&output.stderr).contains("no launcher has given this process a rank"), "{}", text(&output.stderr));
}
