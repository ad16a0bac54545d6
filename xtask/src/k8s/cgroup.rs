//! The bed's control group: a separate group in every hierarchy, with process 1 and all pods in it.
//!
//! The group identifies the processes of a bed. A process cannot leave the group by itself, and a group never
//! identifies another process, as a recorded PID can. So after a crash at any point, `down` finds all processes and
//! groups to end and remove.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sha2::{Digest, Sha256};

use crate::run::until;

const LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct Cgroup {
    name: String,
    hierarchies: Vec<PathBuf>,
    /// Whether the machine has version 2 only. In version 2, each group enables the controllers of the groups below.
    unified: bool,
}

impl Cgroup {
    /// Returns the control group of the bed with this state folder, whether the group exists or not.
    ///
    /// # Errors
    /// If the mounted hierarchies cannot be read, or the machine has none.
    pub(crate) fn of(state: &Path) -> Result<Self> {
        let hash = Sha256::digest(state.as_os_str().as_encoded_bytes());
        let hash: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
        let of_type = |wanted| {
            let mounts = mounts.lines().filter_map(move |line| {
                let (mount, file_system) = line.split_once(" - ")?;
                let is_wanted = file_system.split(' ').next()? == wanted;
                is_wanted.then(|| PathBuf::from(mount.split(' ').nth(4).unwrap_or_default()))
            });
            mounts.collect::<BTreeSet<PathBuf>>()
        };
        let (first, second) = (of_type("cgroup"), of_type("cgroup2"));
        let unified = first.is_empty();
        // Version 2 is first: processes join there, because a process has only one group there.
        let hierarchies: Vec<PathBuf> = second.into_iter().chain(first).collect();
        hierarchies.first().context("/proc/self/mountinfo shows no cgroup hierarchy, and pods need one")?;
        Ok(Self { name: format!("nearfab-bed-{hash}"), hierarchies, unified })
    }

    /// Returns the group's path for the kubelet's option `--cgroup-root`.
    pub(crate) fn root(&self) -> String {
        format!("/{}", self.name)
    }

    /// Makes the group in every hierarchy.
    ///
    /// # Errors
    /// If a hierarchy refuses the group.
    pub(crate) fn create(&self) -> Result<()> {
        for folder in self.folders() {
            fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        }
        if self.unified {
            self.hand_down_controllers()?;
        }
        Ok(())
    }

    fn hand_down_controllers(&self) -> Result<()> {
        let root = &self.hierarchies[0];
        let read = root.join("cgroup.controllers");
        let controllers = fs::read_to_string(&read).with_context(|| read.display().to_string())?;
        for folder in [root.clone(), root.join(&self.name)] {
            let switch = folder.join("cgroup.subtree_control");
            for controller in controllers.split_whitespace() {
                fs::write(&switch, format!("+{controller}"))
                    .with_context(|| format!("{}: +{controller}", switch.display()))?;
            }
        }
        Ok(())
    }

    /// Puts the calling process into the group.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(crate) fn join(&self) -> Result<()> {
        // In version 2, a group with groups below it holds no process.
        let folder = self.hierarchies[0].join(&self.name).join("bed");
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let file = folder.join("cgroup.procs");
        fs::write(&file, "0").with_context(|| file.display().to_string())
    }

    /// Returns every process in the group and below.
    ///
    /// # Errors
    /// If a hierarchy cannot be read.
    pub(crate) fn processes(&self) -> Result<BTreeSet<i32>> {
        let mut found = BTreeSet::new();
        for group in self.groups()? {
            match fs::read_to_string(group.join("cgroup.procs")) {
                Ok(text) => found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok())),
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error).with_context(|| group.display().to_string()),
            }
        }
        Ok(found)
    }

    /// Returns the groups of pods, also of ended pods.
    ///
    /// # Errors
    /// If a hierarchy cannot be read.
    pub(crate) fn pods(&self) -> Result<Vec<PathBuf>> {
        let is_pod = |group: &PathBuf| {
            let name = group.file_name().unwrap_or_default();
            name.as_encoded_bytes().starts_with(b"pod")
        };
        Ok(self.groups()?.into_iter().filter(is_pod).collect())
    }

    /// Ends every process in the group.
    ///
    /// # Errors
    /// If a process survives.
    pub(crate) fn kill(&self) -> Result<()> {
        until("ending the bed's processes", LIMIT, || {
            let processes = self.processes()?;
            for &process in &processes {
                match kill(Pid::from_raw(process), Signal::SIGKILL) {
                    Ok(()) | Err(Errno::ESRCH) => {}
                    Err(error) => return Err(error).with_context(|| format!("kill {process}")),
                }
            }
            Ok(match processes.is_empty() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(format!("still running: {processes:?}")),
            })
        })
    }

    /// Removes the group from every hierarchy. The group must have no process.
    ///
    /// # Errors
    /// If a group cannot be removed.
    pub(crate) fn remove(&self) -> Result<()> {
        until("removing the bed's cgroups", LIMIT, || {
            let mut busy = String::new();
            for group in self.groups()?.iter().rev() {
                match fs::remove_dir(group) {
                    Ok(()) => {}
                    Err(error) if is_gone(&error) => {}
                    // A group is busy for a moment after the end of its last process.
                    Err(error) => busy = format!("{}: {error}", group.display()),
                }
            }
            Ok(match busy.is_empty() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(busy),
            })
        })
    }

    fn folders(&self) -> impl Iterator<Item = PathBuf> {
        self.hierarchies.iter().map(|mount| mount.join(&self.name))
    }

    /// Returns all groups in all hierarchies, parents before their children.
    fn groups(&self) -> Result<Vec<PathBuf>> {
        let mut groups: Vec<PathBuf> = self.folders().filter(|folder| folder.exists()).collect();
        let mut next = 0;
        while let Some(group) = groups.get(next).cloned() {
            next += 1;
            let entries = match fs::read_dir(&group) {
                Ok(entries) => entries,
                Err(error) if is_gone(&error) => continue,
                Err(error) => return Err(error).with_context(|| group.display().to_string()),
            };
            for entry in entries {
                match entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))) {
                    Ok((path, kind)) if kind.is_dir() => groups.push(path),
                    Ok(_) => {}
                    Err(error) if is_gone(&error) => {}
                    Err(error) => return Err(error).with_context(|| group.display().to_string()),
                }
            }
        }
        Ok(groups)
    }
}

/// Returns whether a group was removed meanwhile. The kernel has two errors for a removed group.
fn is_gone(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ENODEV as i32)
}
