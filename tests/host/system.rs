//! System information of trees and of this machine.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use nearfab::instances::InstanceTable;
use nearfab::system::{Library, Limit, Process, RdmaNamespaces};
use nearfab::{ErrorCode, Host, SystemInfo};

use crate::tree::tree_of;
use crate::user::as_unprivileged_user;
use crate::write::write;

fn tree() -> tempfile::TempDir {
    tree_of(InstanceTable::find("trn2.48xlarge").unwrap(), &[])
}

fn around(root: &Path) -> SystemInfo {
    SystemInfo::read(&Host::from_root(root).unwrap()).unwrap().unwrap()
}

#[test]
fn a_machine_that_was_set_up_by_aws_installers_is_read() {
    let tree = tree();
    let around = around(tree.path());
    assert_eq!(around.problems, [""; 0]);
    assert_eq!(around.kernel.as_deref(), Some("6.1.102-111.182.amzn2023.x86_64"));
    assert_eq!(around.module("efa").unwrap().version.as_deref(), Some("3.1.0g"));
    assert_eq!(around.module("ib_uverbs").unwrap().version, None);
    assert_eq!(around.module("nvidia"), None);
    assert_eq!(around.driver_sources, ["aws-neuronx-2.30.2.0", "efa-3.1.0"]);
    assert_eq!(around.huge_pages.iter().map(|pages| pages.size).collect::<Vec<_>>(), [2 << 20, 1 << 30]);
    assert_eq!((around.huge_pages[0].total, around.huge_pages[0].free), (21121, 21121));
    assert_eq!(around.rdma_namespaces, Some(RdmaNamespaces::Shared));
    assert_eq!(around.ptrace_scope, Some(0));
    let nrt: Vec<_> = around.libraries.iter().filter(|library| library.library == Library::Libnrt).collect();
    assert_eq!(nrt.len(), 1, "the link to it is not another one");
    assert_eq!((nrt[0].version(), nrt[0].folder()), (Some("2.34.10.0"), "/opt/aws/neuron/lib"));
    assert_eq!(around.loader_folders, ["/opt/amazon/efa/lib64", "/opt/aws/neuron/lib"]);
    assert_eq!((around.kubelet, around.container, around.process), (None, None, None));
}

#[test]
fn the_kubelet_of_a_node_is_read() {
    let tree = tree();
    let kubelet = |path: &str, content: &str| write(tree.path(), &format!("var/lib/kubelet/{path}"), content);
    kubelet("device-plugins/kubelet.sock", "");
    kubelet("device-plugins/neuron.sock", "");
    let checkpoint =
        r#"{"Data": {"RegisteredDevices": {"aws.amazon.com/neuron": ["0"], "vpc.amazonaws.com/efa": []}}}"#;
    kubelet("device-plugins/kubelet_internal_checkpoint", checkpoint);
    kubelet("plugins/dra.net/dra.sock", "");
    kubelet("plugins_registry/dra.net-reg.sock", "");
    let kubelet = around(tree.path()).kubelet.unwrap();
    assert_eq!(kubelet.device_plugins, ["neuron.sock"]);
    assert_eq!(kubelet.resources.unwrap(), ["aws.amazon.com/neuron"]);
    assert_eq!((kubelet.plugins, kubelet.registered), (vec!["dra.net".into()], vec!["dra.net-reg.sock".into()]));

    let checkpoint = tree.path().join("var/lib/kubelet/device-plugins/kubelet_internal_checkpoint");
    fs::set_permissions(&checkpoint, Permissions::from_mode(0o600)).unwrap();
    let around = as_unprivileged_user(|| around(tree.path()));
    assert_eq!(around.kubelet.unwrap().resources, None);
    assert_eq!(around.problems, [""; 0], "a file for root only is no problem");
}

#[test]
fn malformed_files_are_problems_and_hide_nothing_else() {
    let tree = tree();
    write(tree.path(), "sys/module/ib_core/parameters/netns_mode", "maybe\n");
    write(tree.path(), "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "many\n");
    write(tree.path(), "var/lib/kubelet/device-plugins/kubelet_internal_checkpoint", "not JSON");
    fs::remove_dir_all(tree.path().join("usr/lib64")).unwrap();
    symlink("/etc", tree.path().join("usr/lib64")).unwrap();
    let around = around(tree.path());
    assert_eq!(around.problems.len(), 3, "{:?}", around.problems);
    assert!(around.problems[1].ends_with("netns_mode: expected Y (shared) or N (exclusive), found \"maybe\""));
    assert_eq!(around.huge_pages.len(), 1);
    assert_eq!(around.rdma_namespaces, None);
    assert_eq!(around.libraries.len(), 3);
}

#[test]
fn a_container_is_recognized_by_its_files() {
    for (mark, file) in [
        ("/.dockerenv", ".dockerenv"),
        ("/run/.containerenv", "run/.containerenv"),
        ("/var/run/secrets/kubernetes.io", "var/run/secrets/kubernetes.io/serviceaccount/token"),
    ] {
        let tree = tempfile::tempdir().unwrap();
        write(tree.path(), file, "");
        assert_eq!(around(tree.path()).container.as_deref(), Some(mark));
    }
}

#[test]
fn a_process_of_a_tree_is_read() {
    let tree = tree();
    let proc = |file: &str, content: &str| write(tree.path(), &format!("proc/4711/{file}"), content);
    proc("comm", "python3\n");
    proc(
        "limits",
        "Limit  Soft  Hard  Units\nMax locked memory         65536                65536                bytes     \n",
    );
    proc("status", "Name:\tpython3\nCapEff:\t0000000000000000\n");
    proc("environ", "HOME=/home/alice\0FI_PROVIDER=efa\0AWS_SECRET_ACCESS_KEY=x\0");
    // The file is longer than any attribute may be.
    let filler = "7f00-7f01 r--p 00000000 00:00 0\n".repeat(10_000);
    proc("maps", &format!("{filler}7f02-7f03 r-xp 00000000 103:01 7    /usr/lib64/libfabric.so.1.32.0\n"));
    let host = Host::from_root(tree.path()).unwrap();
    let process = Process::read(&host, 4711).unwrap();
    assert_eq!((process.pid, process.name.as_deref()), (Some(4711), Some("python3")));
    assert_eq!((process.locked_memory, process.may_exceed), (Some(Limit::Bytes(65536)), Some(false)));
    assert_eq!(process.environment.as_ref().unwrap().len(), 1);
    assert_eq!(process.variable("FI_PROVIDER"), Some("efa"));
    assert_eq!(process.libraries.unwrap()[0].path, "/usr/lib64/libfabric.so.1.32.0");

    let error = Process::read(&host, 4712).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Read);
    assert!(error.to_string().contains("proc/4712"), "{error}");
    let error = Process::read(&Host::from_instance("trn2.48xlarge").unwrap(), 1).unwrap_err();
    assert_eq!(error.code(), ErrorCode::NoTree);
}

/// The shell reports the same limit as the kernel's files.
#[test]
fn this_process_is_read_as_the_shell_reports_it() {
    let host = Host::discover().unwrap();
    let own = SystemInfo::read(&host).unwrap().unwrap().process.unwrap();
    let read = Process::read(&host, std::process::id()).unwrap();
    assert_eq!((own.pid, own.locked_memory), (None, read.locked_memory));
    assert_eq!(own.variable("PATH"), std::env::var("PATH").ok().as_deref());
    let limit = limit_by_the_shell();
    assert_eq!(read.locked_memory, Some(limit));
}

fn limit_by_the_shell() -> Limit {
    let shell = std::process::Command::new("sh").args(["-c", "ulimit -l"]).output().unwrap();
    let text = String::from_utf8(shell.stdout).unwrap();
    text.trim().parse().map_or(Limit::Unlimited, |kb: u64| Limit::Bytes(kb * 1024))
}
