//! Starts and stops the bed from outside, and runs commands in it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::components::BED;
use super::versions::Versions;
use super::{build, cgroup::Cgroup, config};
use crate::run::{binaries, catch_interrupts, forget_interrupts, output, say, until};
use crate::tools;

/// The time for starting the cluster. Each step inside has a shorter limit.
const LIMIT: Duration = Duration::from_secs(300);

/// The bed of this checkout, up or not.
pub(crate) struct Bed {
    state: PathBuf,
    cgroup: Cgroup,
}

/// Returns why no bed can run on this machine, even with all packages installed.
pub(crate) fn impossible() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("only root can make the namespaces, mounts and cgroups".to_owned());
    }
    let mut namespaces = Command::new("unshare");
    namespaces.args(["--mount", "--pid", "--net", "--fork", "true"]);
    output(&mut namespaces).err().map(|error| format!("{error:#}"))
}

impl Bed {
    /// Returns the bed of this checkout.
    ///
    /// # Errors
    /// If the machine has no cgroups, or the target folder is unknown.
    pub(crate) fn of_checkout() -> Result<Self> {
        let profile = binaries()?;
        let target = profile.parent().context("this program is not in a target folder")?;
        let state = target.join("k8s");
        let cgroup = Cgroup::of(&state)?;
        Ok(Self { state, cgroup })
    }

    /// Returns whether a cluster is running and was ready once.
    ///
    /// # Errors
    /// If the bed's cgroup cannot be read.
    pub(crate) fn is_up(&self) -> Result<bool> {
        Ok(!self.cgroup.processes()?.is_empty() && self.state.join("ready").exists())
    }

    /// Builds the missing programs, starts the cluster, and returns when the node is ready. A failure leaves no process and no file.
    ///
    /// # Errors
    /// If a package is missing, a build fails, or the cluster does not become ready.
    pub(crate) fn up(&self) -> Result<()> {
        tools::require(tools::CLUSTER)?;
        catch_interrupts()?;
        let versions = Versions::pinned()?;
        let folders = build::binaries(&versions)?;
        ensure!(
            self.cgroup.processes()?.is_empty(),
            "a cluster that is not ready is running: another `k8s up` starts it, or it hangs (cargo xtask k8s down)"
        );
        self.remove()?;
        let start = Instant::now();
        let came_up = self.start(&folders).and_then(|mut outer| self.wait_until_ready(&mut outer));
        if let Err(error) = came_up {
            self.report();
            self.down().with_context(|| format!("cleaning up after: {error:#}"))?;
            return Err(error);
        }
        say(format_args!(
            "Kubernetes {} is up after {:.1} s; state and logs: {}",
            versions.kubernetes,
            start.elapsed().as_secs_f32(),
            self.state.display()
        ));
        Ok(())
    }

    fn start(&self, folders: &[PathBuf]) -> Result<Child> {
        // If two runs start at the same time, the second run fails here.
        fs::create_dir(&self.state).with_context(|| self.state.display().to_string())?;
        let logs = self.state.join("log");
        fs::create_dir(&logs)?;
        config::write(&self.state)?;
        self.link_programs(folders)?;
        self.cgroup.create()?;
        let log = File::create(logs.join("init.log"))?;
        // In a separate process group: a Ctrl-C reaches only this program, which stops the cluster in order.
        Command::new("unshare")
            .args(["--mount", "--pid", "--net", "--fork", "--kill-child=KILL", "--"])
            .arg(std::env::current_exe()?)
            .args(["k8s", "init"])
            .arg(&self.state)
            .env("PATH", inner_path()?)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start unshare")
    }

    /// Links the programs that this bed runs; other versions may be pinned while the bed is up.
    fn link_programs(&self, folders: &[PathBuf]) -> Result<()> {
        let links = self.state.join("bin");
        fs::create_dir(&links)?;
        for folder in folders {
            for program in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
                let program = program?;
                symlink(program.path(), links.join(program.file_name()))?;
            }
        }
        Ok(())
    }

    fn wait_until_ready(&self, outer: &mut Child) -> Result<()> {
        let ready = self.state.join("ready");
        until("bringing the cluster up", LIMIT, || {
            if let Some(status) = outer.try_wait()? {
                bail!("the cluster did not start ({status}); the last lines of its logs are above");
            }
            Ok(match ready.exists() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue("it is not ready yet".to_owned()),
            })
        })
    }

    /// Ends all processes of the bed and removes its files. Does nothing if the bed is not up.
    ///
    /// # Errors
    /// If a process does not end or a file cannot be removed; `down` can be called again.
    pub(crate) fn down(&self) -> Result<()> {
        // An interruption that led to this call must not interrupt the cleanup.
        forget_interrupts();
        self.cgroup.kill()?;
        self.remove()
    }

    fn remove(&self) -> Result<()> {
        self.cgroup.remove()?;
        let mounts = fs::read_to_string("/proc/self/mounts").context("/proc/self/mounts")?;
        let leaked = mounts.lines().find(|line| {
            let target = line.split(' ').nth(1).unwrap_or_default();
            Path::new(target).starts_with(&self.state)
        });
        // Removing the folder would delete files through the mount.
        ensure!(leaked.is_none(), "a mount of the bed is visible on the machine: {leaked:?}");
        match fs::remove_dir_all(&self.state) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| self.state.display().to_string())
            }
            _ => Ok(()),
        }
    }

    /// Prints the last lines of every log.
    pub(crate) fn report(&self) {
        let mut logs: Vec<PathBuf> = fs::read_dir(self.state.join("log"))
            .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
            .unwrap_or_default();
        logs.sort();
        for log in logs {
            let text = fs::read(&log).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            eprintln!("== {}", log.display());
            for line in &lines[lines.len().saturating_sub(12)..] {
                eprintln!("{}", line.chars().take(400).collect::<String>());
            }
        }
    }

    /// Returns the command of kubectl as the cluster's administrator, in the caller's file system.
    ///
    /// # Errors
    /// If the bed is not up.
    pub(crate) fn kubectl(&self) -> Result<Command> {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{}/ns/net", self.init()?))
            .arg(self.state.join("bin/kubectl"))
            .arg("--kubeconfig")
            .arg(self.state.join("admin.kubeconfig"))
            // By default, kubectl keeps its cache in the user's home.
            .env("KUBECACHEDIR", self.state.join("kubectl-cache"));
        Ok(command)
    }

    /// Returns the output of `kubectl get`, as JSON.
    ///
    /// # Errors
    /// If kubectl fails.
    pub(crate) fn get(&self, arguments: &[&str]) -> Result<Value> {
        let answer = output(self.kubectl()?.arg("get").args(arguments).args(["-o", "json"]))?;
        serde_json::from_str(&answer).context("kubectl get -o json")
    }

    /// Returns a command that runs in all of the bed's namespaces, with the bed's programs on its search path.
    ///
    /// # Errors
    /// If the bed is not up.
    pub(crate) fn inside(&self, command: &Command) -> Result<Command> {
        let mut entered = Command::new("nsenter");
        entered
            .args(["--mount", "--pid", "--net", "--target", &self.init()?.to_string(), "--"])
            .arg(command.get_program())
            .args(command.get_args())
            .env("PATH", inner_path()?);
        Ok(entered)
    }

    /// Returns the path outside of the bed for a path inside.
    ///
    /// # Errors
    /// If the bed is not up.
    pub(crate) fn path(&self, inside: &str) -> Result<PathBuf> {
        Ok(PathBuf::from(format!("/proc/{}/root{inside}", self.init()?)))
    }

    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    pub(crate) fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// Returns the PID of the bed's process 1 on the machine.
    fn init(&self) -> Result<i32> {
        let file = self.state.join("init.pid");
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let pid = text.parse().with_context(|| file.display().to_string())?;
        ensure!(
            self.cgroup.processes()?.contains(&pid),
            "the cluster ended by itself: read the logs in {}/log, then run `cargo xtask k8s down`",
            self.state.display()
        );
        Ok(pid)
    }
}

/// Returns the search path in the bed.
fn inner_path() -> Result<OsString> {
    let folders = [PathBuf::from(BED).join("bin")].into_iter().chain(tools::search_path());
    Ok(std::env::join_paths(folders)?)
}
