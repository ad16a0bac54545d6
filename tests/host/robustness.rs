//! Broken and hostile trees: discovery reads nothing outside of the tree, does not block and opens no device node. A
//! bad attribute causes a problem that names the attribute, and hides nothing else.

use std::env;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nearfab::instances::InstanceTable;
use nearfab::{Bdf, ErrorCode, Host, HostDevice, PciFunction};
use nearfab_emu::Defect;
use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{geteuid, mkfifo};
use tempfile::TempDir;

use crate::tree;
use crate::user::as_unprivileged_user;

/// The variable with the tree to read, for a test that runs itself in another process.
const TREE: &str = "NEARFAB_TEST_TREE";

struct Tree(TempDir);

impl Tree {
    fn new() -> Self {
        // Trees in memory are quick, but file systems in memory may forbid device nodes, which matter here.
        let folder = if nodev() || forbids_nodes("/dev/shm") { tempfile::tempdir().unwrap() } else { tree::folder() };
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        let tree = Self(folder);
        let table = InstanceTable::find("trn2.48xlarge").unwrap();
        nearfab_emu::write_tree_with(table, &[Defect::NoCoreStatistics], &tree.root()).unwrap();
        fs::write(tree.outside(), "1\n").unwrap();
        tree
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("tree")
    }

    /// Returns a file beside the tree, which must never be read.
    fn outside(&self) -> PathBuf {
        self.0.path().join("outside")
    }

    /// Removes an attribute of the victim and returns its path, for a replacement.
    fn without(&self, attribute: &str) -> PathBuf {
        let path = self.root().join("sys/bus/pci/devices").join(victim().to_string()).join(attribute);
        fs::remove_file(&path).unwrap();
        path
    }

    fn host(&self) -> Host {
        Host::from_root(self.root()).unwrap()
    }
}

/// Returns the EFA interface with the replaced attributes. This interface is on NUMA node 0.
fn victim() -> Bdf {
    "0000:57:00.0".parse().unwrap()
}

fn function(host: &Host) -> &PciFunction {
    &host.find_efa(victim()).unwrap().function
}

/// Fails unless the host has exactly one problem, with the path and the reason, and all else is as in the unchanged
/// tree.
#[track_caller]
fn assert_only_problem(host: &Host, path: &Path, reason: &str) {
    let [problem] = host.problems() else { panic!("not one problem: {:?}", host.problems()) };
    // A problem has the path as it was requested, before links were followed.
    let tail: PathBuf = path.iter().rev().take(2).collect::<Vec<_>>().into_iter().rev().collect();
    assert!(problem.contains(tail.to_str().unwrap()) && problem.contains(reason), "{problem}");
    assert_eq!((host.neuron_devices().len(), host.efa_interfaces().len()), (16, 16));
    assert!(host.efa_interfaces().iter().all(|efa| efa.address() == victim() || efa.function.numa.is_some()));
}

#[test]
fn an_unchanged_tree_has_no_problem() {
    let host = Tree::new().host();
    assert_eq!(host.problems(), [""; 0]);
    assert_eq!(function(&host).numa, Some(0));
}

#[test]
fn links_do_not_lead_out_of_the_tree() {
    let tree = Tree::new();
    let attribute = tree.without("numa_node");
    let up = "../".repeat(40) + tree.outside().to_str().unwrap();
    for target in [tree.outside(), PathBuf::from(up)] {
        symlink(&target, &attribute).unwrap();
        let host = tree.host();
        assert_eq!(function(&host).numa, None, "{}", target.display());
        assert_eq!(host.efa_interfaces().len(), 16);
        fs::remove_file(&attribute).unwrap();
    }
    // An absolute link is resolved within the tree.
    fs::write(tree.root().join("zero"), "0\n").unwrap();
    symlink("/zero", &attribute).unwrap();
    assert_eq!(function(&tree.host()).numa, Some(0));
}

#[test]
fn a_linked_folder_does_not_lead_out_of_the_tree() {
    let tree = Tree::new();
    let class = tree.root().join("sys/class/neuron_device");
    let beside = tree.0.path().join("class");
    fs::rename(&class, &beside).unwrap();
    symlink(&beside, &class).unwrap();
    let host = tree.host();
    assert_eq!((host.neuron_devices().len(), host.efa_interfaces().len()), (16, 16), "known by their nodes");
    assert!(
        host.neuron_devices().iter().all(|device| device.links.is_none()),
        "nothing is read from outside of the tree"
    );
}

#[test]
fn a_loop_of_links_is_a_problem() {
    let tree = Tree::new();
    let attribute = tree.without("numa_node");
    symlink("numa_node", &attribute).unwrap();
    assert_only_problem(&tree.host(), &attribute, "Too many levels of symbolic links");
}

#[test]
fn only_the_beginning_of_a_huge_attribute_is_read() {
    let tree = Tree::new();
    let before = bytes_read_by(|| drop(tree.host()));
    let attribute = tree.without("local_cpulist");
    File::create(&attribute).unwrap().set_len(1 << 30).unwrap();
    let mut host = None;
    let with = bytes_read_by(|| host = Some(tree.host()));
    assert_only_problem(&host.unwrap(), &attribute, "expected less than 64 KiB");
    assert!(with - before <= 64 * 1024, "{} bytes more", with - before);
}

/// Returns the number of bytes that this thread reads during `work`, by the kernel's count.
fn bytes_read_by(work: impl FnOnce()) -> u64 {
    let count = || -> u64 {
        let text = fs::read_to_string("/proc/thread-self/io").unwrap();
        text.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
    };
    let nothing = (count(), count());
    let before = count();
    work();
    count() - before - (nothing.1 - nothing.0)
}

#[test]
fn a_pipe_does_not_block_discovery() {
    let tree = Tree::new();
    let attribute = tree.without("local_cpulist");
    mkfifo(&attribute, Mode::S_IRWXU).unwrap();
    assert_only_problem(&tree.host(), &attribute, "found \"a pipe\"");
}

#[test]
fn a_device_node_is_not_opened() {
    let tree = Tree::new();
    // No driver has this number, so opening the node would fail with another error.
    let node = tree.root().join("dev/driverless");
    match mknod(&node, SFlag::S_IFCHR, Mode::S_IRWXU, makedev(511, 1)) {
        Err(Errno::EPERM) => return nearfab_emu::skipped("device node", "only root may make one"),
        made => made.unwrap(),
    }
    assert_eq!(File::open(&node).unwrap_err().raw_os_error(), Some(node_refusal()));
    let attribute = tree.without("numa_node");
    symlink("/dev/driverless", &attribute).unwrap();
    assert_only_problem(&tree.host(), &attribute, "found \"a device node\"");
    fs::rename(&node, &attribute).unwrap();
    let reason = if nodev() { "Permission denied" } else { "found \"a device node\"" };
    assert_only_problem(&tree.host(), &attribute, reason);
}

#[test]
fn a_device_node_mounted_on_a_file_is_not_opened() {
    let name = "robustness::a_device_node_mounted_on_a_file_is_not_opened";
    if let Some(root) = env::var_os(TREE) {
        let host = Host::from_root(root).unwrap();
        return assert_only_problem(&host, Path::new(&format!("{}/numa_node", victim())), "found \"a device node\"");
    }
    let tree = Tree::new();
    let node = tree.root().join("dev/driverless");
    let made = mknod(&node, SFlag::S_IFCHR, Mode::S_IRWXU, makedev(511, 1));
    let Some(mut command) = unshare().filter(|_| made.is_ok()) else {
        return nearfab_emu::skipped(
            "mounted device node",
            "only root may make one, and a mount namespace to mount it in",
        );
    };
    // The listing of the folder still shows the file.
    let attribute = tree.root().join("sys/bus/pci/devices").join(victim().to_string()).join("numa_node");
    let script = "mount --bind \"$1\" \"$2\" && exec \"$0\" \"$3\" --exact";
    command.args(["sh", "-c", script]).arg(env::current_exe().unwrap()).args([&node, &attribute]).arg(name);
    assert_passed(&command.env(TREE, tree.root()).output().unwrap());
}

/// Returns the error of opening a node without a driver in this run's trees.
fn node_refusal() -> i32 {
    if nodev() { Errno::EACCES as i32 } else { Errno::ENXIO as i32 }
}

/// Returns true in the run of [`all_these_tests_pass_on_a_file_system_without_device_nodes`].
fn nodev() -> bool {
    env::var_os(TREE).is_some_and(|place| place == "nodev")
}

/// Returns true if the file system of a folder forbids device nodes.
fn forbids_nodes(folder: &str) -> bool {
    statvfs(folder).is_ok_and(|system| system.flags().contains(FsFlags::ST_NODEV))
}

#[test]
fn a_folder_in_place_of_a_file_is_a_problem_and_a_file_in_place_of_a_folder() {
    let tree = Tree::new();
    let attribute = tree.without("numa_node");
    fs::create_dir(&attribute).unwrap();
    assert_only_problem(&tree.host(), &attribute, "Is a directory");
    fs::remove_dir(&attribute).unwrap();
    fs::write(&attribute, "0\n").unwrap();

    let class = tree.root().join("sys/class/infiniband");
    fs::remove_dir_all(&class).unwrap();
    fs::write(&class, "").unwrap();
    let host = tree.host();
    assert_only_problem(&host, &class, "Not a directory");
    assert!(host.efa_interfaces().iter().all(|efa| efa.rdma.is_none() && efa.uverbs.is_some()));
}

#[test]
fn garbage_in_one_attribute_hides_nothing_else() {
    let tree = Tree::new();
    let attribute = tree.without("numa_node");
    for (content, found) in [
        (&b"\xff\xfe\n"[..], "expected text"),
        (b"", "found \"\""),
        (b"1e3\n", "found \"1e3\""),
        (b"+1\n", "found \"+1\""),
        (b"-2\n", "found \"-2\""),
        (b"4294967296\n", "found \"4294967296\""),
    ] {
        fs::write(&attribute, content).unwrap();
        let host = tree.host();
        assert_only_problem(&host, &attribute, found);
        assert_eq!(function(&host).cpus.len(), 96);
    }
}

/// Trees that tools copied may lack uevent files.
#[test]
fn without_uevent_a_function_is_known_by_its_ids() {
    let tree = Tree::new();
    tree.without("uevent");
    let attribute = tree.without("class");
    for (content, found) in [(&b"0x+20000\n"[..], "found \"0x+20000\""), (b"\xff", "expected text")] {
        fs::write(&attribute, content).unwrap();
        assert_only_problem(&tree.host(), &attribute, found);
    }
    fs::write(&attribute, "0x020000\n").unwrap();
    let attribute = tree.without("vendor");
    for id in ["0x11d0f", "0x+1d0", "amazon"] {
        fs::write(&attribute, id).unwrap();
        let host = tree.host();
        assert_eq!(host.efa_interfaces().len(), 15);
        assert!(host.problems()[0].contains("expected an id such as 0x1d0f"), "{:?}", host.problems());
    }
}

#[test]
fn a_folder_whose_name_has_no_number_is_no_device() {
    let tree = Tree::new();
    for name in ["devices/system/node/node+1", "class/neuron_device/neuron5/neuron_core07"] {
        fs::create_dir(tree.root().join("sys").join(name)).unwrap();
    }
    let host = tree.host();
    assert_eq!((host.numa_nodes().len(), host.neuron_devices()[5].cores), (2, 8));
}

#[test]
fn an_attribute_without_read_permission_is_a_problem() {
    let tree = Tree::new();
    let attribute = tree.without("numa_node");
    fs::write(&attribute, "0\n").unwrap();
    fs::set_permissions(&attribute, Permissions::from_mode(0o000)).unwrap();
    assert_only_problem(&as_unprivileged_user(|| tree.host()), &attribute, "Permission denied");
}

#[test]
fn a_device_that_goes_away_while_it_is_read_is_a_problem() {
    let name = "robustness::a_device_that_goes_away_while_it_is_read_is_a_problem";
    if let Some(root) = env::var_os(TREE) {
        let host = Host::from_root(root).unwrap();
        return assert_only_problem(&host, Path::new(&format!("{}/numa_node", victim())), "No such device");
    }
    let tree = Tree::new();
    let attribute = tree.root().join("sys/bus/pci/devices").join(victim().to_string()).join("numa_node");
    let attribute = attribute.canonicalize().unwrap();
    let filter = ["-P", attribute.to_str().unwrap(), "-e", "inject=read:error=ENODEV"];
    again_under_strace(name, &filter, &tree.root());
}

#[test]
fn without_openat2_a_tree_is_not_read() {
    if let Some(root) = env::var_os(TREE) {
        let error = Host::from_root(&root).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Read);
        let text = error.to_string();
        assert!(text.contains(root.to_str().unwrap()) && text.contains("openat2 is refused"), "{text}");
        // The machine itself is read without openat2.
        Host::discover().unwrap();
        return;
    }
    let tree = Tree::new();
    for errno in ["ENOSYS", "EPERM"] {
        let filter = ["-e", &format!("inject=openat2:error={errno}")];
        again_under_strace("robustness::without_openat2_a_tree_is_not_read", &filter, &tree.root());
    }
}

/// Runs this test again in a process in which strace makes system calls fail.
fn again_under_strace(test: &str, filter: &[&str], tree: &Path) {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "/dev/null"]).args(filter).arg(env::current_exe().unwrap());
    strace.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(TREE, tree);
    match strace.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            nearfab_emu::skipped(test, "strace is not installed");
        }
        output => assert_passed(&output.unwrap()),
    }
}

fn assert_passed(output: &Output) {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && stdout.contains(" passed"), "{}\n{stdout}\n{stderr}", output.status);
}

/// On a mount with `nodev`, such as sysfs, files are opened without a check of their type.
#[test]
fn all_these_tests_pass_on_a_file_system_without_device_nodes() {
    if env::var_os(TREE).is_some() {
        return;
    }
    let Some(mut command) = unshare() else {
        return nearfab_emu::skipped("nodev", "this system lets the user make no mount namespace");
    };
    let place = tempfile::tempdir().unwrap();
    let skipped = "--skip goes_away --skip openat2 --skip mounted_on";
    let script =
        format!("mount -t tmpfs -o nodev,mode=755 nodev \"$1\" && TMPDIR=$1 exec \"$0\" robustness:: {skipped}");
    command.args(["sh", "-c", &script]).arg(env::current_exe().unwrap()).arg(place.path()).env(TREE, "nodev");
    assert_passed(&command.output().unwrap());
}

/// Returns the program that runs a command in a new mount namespace, if the system lets this user create a mount
/// namespace.
fn unshare() -> Option<Command> {
    let command = || {
        let user = if geteuid().is_root() { "--mount" } else { "--mount --map-root-user" };
        let mut command = Command::new("unshare");
        command.args(user.split(' ')).args(["--propagation", "private"]);
        command
    };
    command().arg("true").status().is_ok_and(|status| status.success()).then(command)
}

#[test]
fn near_has_an_answer_without_any_pci_function() {
    let tree = Tree::new();
    fs::remove_dir_all(tree.root().join("sys/bus")).unwrap();
    let host = tree.host();
    assert_eq!((host.neuron_devices().len(), host.efa_interfaces().len()), (16, 0));
    let near = host.near_device(HostDevice(0), nearfab::Basis::Pairing).unwrap();
    assert!(near.entries.is_empty());
}

#[test]
fn no_device_is_listed_twice() {
    let tree = Tree::new();
    let devices = tree.root().join("sys/bus/pci/devices");
    symlink(fs::read_link(devices.join("0000:cc:00.0")).unwrap(), devices.join("cc:00.0")).unwrap();
    symlink(fs::read_link(devices.join("0000:57:00.0")).unwrap(), devices.join("57:00.0")).unwrap();
    let class = tree.root().join("sys/class/neuron_device");
    symlink(fs::read_link(class.join("neuron5")).unwrap(), class.join("neuron05")).unwrap();
    let host = tree.host();
    assert_eq!((host.neuron_devices().len(), host.efa_interfaces().len()), (16, 16));

    let mut record: serde_json::Value = serde_json::from_str(&host.to_json()).unwrap();
    record["neuron"][3]["index"] = 4.into();
    let error = Host::from_json(&record.to_string()).unwrap_err();
    assert!(error.to_string().contains("neuron4 is listed twice"), "{error}");
}

#[test]
fn a_record_with_too_many_cores_is_refused() {
    let mut record: serde_json::Value = serde_json::from_str(&Tree::new().host().to_json()).unwrap();
    record["neuron"][3]["cores"] = u32::MAX.into();
    let error = Host::from_json(&record.to_string()).unwrap_err();
    assert!(error.to_string().contains("neuron3 has 4294967295 cores"), "{error}");
}
