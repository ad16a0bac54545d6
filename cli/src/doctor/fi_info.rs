//! Runs libfabric's program `fi_info`.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nearfab::doctor::FiInfo;

const PROGRAM: &str = "fi_info";
const AWS_PROGRAMS: &str = "/opt/amazon/efa/bin";
/// The time limit for `fi_info`: libibverbs waits 5 s for each node that it may not open, and instances have up to 32
/// nodes.
const DEADLINE: Duration = Duration::from_secs(180);

/// The largest output that is read, in bytes: many times the output for 32 interfaces.
const MAX_OUTPUT: u64 = 1 << 20;

/// Runs the program in a child process: the first `fi_getinfo` of a process opens every EFA interface and may create a
/// CUDA context. nearfab does not want these effects in the caller's process.
pub(super) fn run() -> FiInfo {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from(AWS_PROGRAMS)]);
    let Some(program) = folders.map(|folder| folder.join(PROGRAM)).find(|program| program.is_file()) else {
        return FiInfo::NotInstalled;
    };
    match run_program(&program, &["-p", "efa", "-t", "FI_EP_RDM"], DEADLINE) {
        Ok((status, stdout, stderr)) => FiInfo::Ended { program, status, stdout, stderr },
        Err(error) => FiInfo::NotRun { program, reason: error.to_string() },
    }
}

fn run_program(program: &Path, arguments: &[&str], deadline: Duration) -> io::Result<(ExitStatus, String, String)> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if std::env::var_os("FI_HMEM").is_none() {
        // Without this variable, the efa provider creates a CUDA context on the first GPU.
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
        // The output before a read error is kept.
        let _ = pipe.map(|pipe| pipe.take(MAX_OUTPUT).read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_is_killed_at_the_deadline() {
        let error = run_program(Path::new("tail"), &["-f", "/dev/null"], Duration::from_millis(200)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
