//! Process 1 of the bed, in private mount, PID and network namespaces. When process 1 ends, for any reason, the kernel
//! ends all processes of the bed and removes the mounts and interfaces of the bed.

use std::fs::{self, File};
use std::net::TcpStream;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::wait::wait;

use super::NODE;
use super::cgroup::Cgroup;
use super::components::{self, ADDRESS, BED, CDI, KUBELET, SERVICE};
use super::config::IMAGES;
use crate::run::{output, say, until};

const LIMIT: Duration = Duration::from_secs(60);

/// Kernel settings that the kubelet changes to these values. The settings are those of the whole machine. In the bed, files with
/// these values are mounted over them, so the kubelet changes nothing.
const KERNEL_SETTINGS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// Starts the cluster, then writes the file `ready` in the state folder, and stays.
///
/// # Errors
/// If a step fails or a component ends.
pub(crate) fn main(state: &Path) -> Result<()> {
    let cgroup = Cgroup::of(state)?;
    cgroup.join()?;
    // /proc is still the /proc of the machine, so /proc/self shows the PID of this process outside of the bed.
    let outer = fs::read_link("/proc/self").context("/proc/self")?;
    fs::write(state.join("init.pid"), outer.as_os_str().as_encoded_bytes())?;

    mounts(state)?;
    network()?;
    let mut components = Components::default();
    cluster(&mut components, &cgroup)?;
    fs::write(Path::new(BED).join("ready"), "")?;
    components.watch()
}

fn mounts(state: &Path) -> Result<()> {
    // The processes in the bed share mounts, because the kubelet's volumes need shared mounts. The machine does not
    // share these mounts.
    bind_flags("/", MsFlags::MS_REC | MsFlags::MS_SHARED)?;
    file_system("proc", "/proc", None)?;
    file_system("tmpfs", "/run", None)?;
    for folder in [BED, CDI, "/run/containerd", "/run/lock", "/run/tmp"] {
        fs::create_dir_all(folder).context(folder)?;
    }
    bind(state, Path::new(BED))?;
    // Logs, sockets and caches are at their usual paths in the bed, and leave no file in the machine's folders.
    for folder in ["etc", "var", "opt"] {
        let (upper, work) = (format!("/run/overlay/{folder}"), format!("/run/overlay/{folder}.work"));
        fs::create_dir_all(&upper)?;
        fs::create_dir_all(&work)?;
        let options = format!("lowerdir=/{folder},upperdir={upper},workdir={work}");
        file_system("overlay", &format!("/{folder}"), Some(&options))?;
    }
    fs::create_dir_all(KUBELET)?;
    file_system("tmpfs", KUBELET, None)?;
    for (setting, value) in KERNEL_SETTINGS {
        let file = Path::new("/run/kernel-settings").join(setting.replace('/', "."));
        fs::create_dir_all("/run/kernel-settings")?;
        fs::write(&file, value)?;
        bind(&file, &Path::new("/proc/sys").join(setting))?;
    }
    Ok(())
}

fn file_system(kind: &str, target: &str, options: Option<&str>) -> Result<()> {
    mount(Some(kind), target, Some(kind), MsFlags::empty(), options)
        .with_context(|| format!("mounting {kind} on {target}"))
}

fn bind(source: &Path, target: &Path) -> Result<()> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("mounting {} on {}", source.display(), target.display()))
}

fn bind_flags(target: &str, flags: MsFlags) -> Result<()> {
    mount(None::<&str>, target, None::<&str>, flags, None::<&str>)
        .with_context(|| format!("changing the mount {target}"))
}

fn network() -> Result<()> {
    let ip = |arguments: &str| output(Command::new("ip").args(arguments.split(' '))).map(drop);
    ip("link set lo up")?;
    // The node's interface is a bridge without ports: not every kernel has dummy interfaces.
    ip("link add bed0 type bridge")?;
    ip(&format!("addr add {ADDRESS}/24 dev bed0"))?;
    ip(&format!("addr add {SERVICE}/32 dev bed0"))?;
    ip("link set bed0 up")?;
    // The kubelet and the API server look for a default route; this route leads nowhere.
    ip("route add default via 10.123.0.254 dev bed0")?;
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("net.ipv4.ip_forward")
}

fn cluster(components: &mut Components, cgroup: &Cgroup) -> Result<()> {
    components.start("etcd", components::etcd())?;
    components.start("containerd", components::containerd())?;
    components.wait("etcd", || TcpStream::connect("127.0.0.1:2379").is_ok())?;
    components.start("kube-apiserver", components::apiserver())?;
    components.wait("kube-apiserver", || output(components::kubectl().args(["get", "--raw", "/readyz"])).is_ok())?;
    components.start("kube-controller-manager", components::controller_manager())?;
    components.start("kube-scheduler", components::scheduler())?;
    components.wait("containerd", || output(components::ctr().arg("version")).is_ok())?;
    for archive in IMAGES {
        output(&mut components::import(archive))?;
    }
    components.start("kubelet", components::kubelet(cgroup))?;
    components.wait("the node", || {
        let condition = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
        output(components::kubectl().args(["get", "node", NODE, "-o", condition])).is_ok_and(|status| status == "True")
    })?;
    // The API server refuses pods before the account exists.
    components.wait("the default service account", || {
        output(components::kubectl().args(["get", "serviceaccount", "default"])).is_ok()
    })
}

/// The processes that the cluster cannot run without.
#[derive(Default)]
struct Components(Vec<(&'static str, Child)>);

impl Components {
    fn start(&mut self, name: &'static str, mut command: Command) -> Result<()> {
        let log = format!("{BED}/log/{name}.log");
        let log = File::create(&log).context(log)?;
        let process = command
            .env("TMPDIR", "/run/tmp")
            .env("HOME", "/run/tmp")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        self.0.push((name, process));
        Ok(())
    }

    fn wait(&mut self, name: &str, mut is_ready: impl FnMut() -> bool) -> Result<()> {
        let start = Instant::now();
        until(&format!("{name} becoming ready"), LIMIT, || {
            for (name, process) in &mut self.0 {
                if let Some(status) = process.try_wait()? {
                    bail!("{name} ended with {status}");
                }
            }
            Ok(match is_ready() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue("it is not ready".to_owned()),
            })
        })?;
        say(format_args!("{name} is ready after {:.1} s", start.elapsed().as_secs_f32()));
        Ok(())
    }

    /// Waits until a component ends. Reaps other processes that end, which is the duty of process 1.
    fn watch(&self) -> Result<()> {
        loop {
            let status = match wait() {
                Err(Errno::EINTR) => continue,
                status => status.context("waiting for processes to end")?,
            };
            let ended = self
                .0
                .iter()
                .find(|(_, process)| status.pid().is_some_and(|pid| pid.as_raw().cast_unsigned() == process.id()));
            if let Some((name, _)) = ended {
                bail!("{name} ended: {status:?}");
            }
        }
    }
}
