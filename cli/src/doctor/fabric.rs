//! What libfabric says of this machine, through its own program.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const PROGRAM: &str = "fi_info";
const AWS_PROGRAMS: &str = "/opt/amazon/efa/bin";
/// libibverbs waits 5 s for each node that it may not open; instances have up to 32.
const DEADLINE: Duration = Duration::from_secs(180);

/// Many times what 32 interfaces take.
const LONGEST_ANSWER: u64 = 1 << 20;

/// What libfabric said, through its own program: the first `fi_getinfo` of a process opens every EFA interface and may make a
/// CUDA context, which is nothing for this one.
pub(super) enum Fabric {
    NotInstalled,
    /// It could not be run, or did not end in time.
    NotRun {
        program: PathBuf,
        reason: String,
    },
    Ended {
        program: PathBuf,
        status: ExitStatus,
        stdout: String,
        stderr: String,
    },
}

impl Fabric {
    pub(super) fn ask() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain([PathBuf::from(AWS_PROGRAMS)]);
        let Some(program) = folders.map(|folder| folder.join(PROGRAM)).find(|program| program.is_file()) else {
            return Self::NotInstalled;
        };
        match run_program(&program, &["-p", "efa", "-t", "FI_EP_RDM"], DEADLINE) {
            Ok((status, stdout, stderr)) => Self::Ended { program, status, stdout, stderr },
            Err(error) => Self::NotRun { program, reason: error.to_string() },
        }
    }
}

fn run_program(program: &Path, arguments: &[&str], deadline: Duration) -> io::Result<(ExitStatus, String, String)> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if std::env::var_os("FI_HMEM").is_none() {
        // Else the provider makes a CUDA context on the first GPU.
        command.env("FI_HMEM", "system");
    }
    let end = Instant::now() + deadline;
    let mut child = command.spawn()?;
    let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((status, stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default()));
        }
        if Instant::now() >= end {
            child.kill()?;
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", deadline.as_secs())));
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error is said.
        let _ = pipe.map(|pipe| pipe.take(LONGEST_ANSWER).read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_hangs_is_killed() {
        let error = run_program(Path::new("tail"), &["-f", "/dev/null"], Duration::from_millis(200)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
