//! Builds targets with cargo-fuzz, runs them, and reads the output of libFuzzer.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::run::{output, say, visibly};
use crate::tools;

/// Slow targets. For a slow target, an input that only takes a known path more often is not kept: the corpus would grow
/// faster than the target can run the corpus.
const SLOW: [&str; 3] = ["attribute", "instance_toml", "tree"];

/// Builds and runs the targets in the folder `fuzz` of a source tree.
pub(crate) struct Engine {
    folder: PathBuf,
    cargo_fuzz: PathBuf,
    /// A folder, in memory if the machine has /dev/shm: targets write thousands of small files a second.
    scratch: TempDir,
}

/// The result of running a target.
#[derive(Default)]
pub(crate) struct Run {
    pub(crate) seconds: u64,
    pub(crate) executions: u64,
    /// The number of inputs in the corpus. Each input reaches code that the other inputs do not reach.
    pub(crate) inputs: u64,
    /// Edges between blocks of the target's code that an input took.
    pub(crate) edges: u64,
    /// All edges of the target's code and of its libraries, without the standard library.
    pub(crate) of_edges: u64,
    /// Whether the target passed all inputs that it began with.
    pub(crate) past_seeds: bool,
    /// The place of the failure; none if no input failed.
    pub(crate) finding: Option<String>,
    /// The input that failed.
    pub(crate) input: Option<PathBuf>,
}

impl Engine {
    /// # Errors
    /// If cargo-fuzz cannot be installed, or nothing can be written.
    pub(crate) fn new(sources: &Path) -> Result<Self> {
        let memory = Path::new("/dev/shm");
        let scratch = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Ok(Self {
            folder: sources.join("fuzz"),
            cargo_fuzz: tools::from_crates(&tools::CARGO_FUZZ)?,
            scratch: scratch.context("making a temporary folder")?,
        })
    }

    /// Returns the folder of the targets.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns a command of cargo-fuzz, for the caller to add arguments to. The fuzzed code has no unsafe code, so it needs no
    /// sanitizer and no nightly compiler.
    pub(crate) fn cargo_fuzz(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.cargo_fuzz);
        command.args(["fuzz", subcommand]).arg("--fuzz-dir").arg(&self.folder);
        command
    }

    /// Returns the names of all targets, or only the given name.
    ///
    /// # Errors
    /// If the target does not exist.
    pub(crate) fn targets(&self, only: Option<&str>) -> Result<Vec<String>> {
        let all = output(&mut self.cargo_fuzz("list"))?;
        let all: Vec<String> = all.lines().map(str::to_owned).collect();
        let wanted: Vec<String> = all.iter().filter(|name| only.is_none_or(|only| only == *name)).cloned().collect();
        if wanted.is_empty() {
            bail!("this target does not exist; the targets are: {}", all.join(", "));
        }
        Ok(wanted)
    }

    /// Writes the seeds that a program makes.
    ///
    /// # Errors
    /// If the program fails.
    pub(crate) fn make_seeds(&self) -> Result<()> {
        let mut seeds = Command::new(env!("CARGO"));
        seeds.current_dir(&self.folder).args(["run", "--quiet", "--example", "seeds", "--"]).arg(self.made_seeds());
        visibly(seeds.env("TMPDIR", self.scratch.path()))
    }

    fn made_seeds(&self) -> PathBuf {
        self.folder.join("target/seeds")
    }

    /// Returns the folder that keeps the inputs of a target from run to run.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub(crate) fn corpus(&self, target: &str) -> Result<PathBuf> {
        let folder = self.folder.join("corpus").join(target);
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(folder)
    }

    /// Returns the folders of a target's seeds: the committed seeds and the seeds that a program makes.
    pub(crate) fn seeds(&self, target: &str) -> Vec<PathBuf> {
        let folders = [self.folder.join("seeds"), self.made_seeds()].map(|folder| folder.join(target));
        folders.into_iter().filter(|folder| folder.is_dir()).collect()
    }

    /// Returns the option for the target's list of words, if it has one.
    fn dictionary(&self, target: &str) -> Option<String> {
        let words = self.folder.join("dictionaries").join(target);
        words.is_file().then(|| format!("-dict={}", words.display()))
    }

    /// Builds a target.
    ///
    /// # Errors
    /// If the target does not build.
    pub(crate) fn build(&self, target: &str) -> Result<PathBuf> {
        let mut command = self.cargo_fuzz("build");
        // With more codegen units than cargo-fuzz uses, a smaller part is built again after a change.
        command.args(["--sanitizer", "none", "--codegen-units", "16", target]).env("CARGO_INCREMENTAL", "1");
        output(&mut command)?;
        let host = host_triple()?;
        Ok(self.folder.join("target").join(host).join("release").join(target))
    }

    /// Returns the command of a built target, for the caller to add arguments to.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("TMPDIR", self.scratch.path());
        command
    }

    /// Runs a target from its seeds and a corpus until an input fails or the time is over.
    ///
    /// # Errors
    /// If the target cannot be run. An input that fails is not an error here.
    pub(crate) fn run(
        &self,
        target: &str,
        program: &Path,
        corpus: &Path,
        time: Duration,
        visible: bool,
    ) -> Result<Run> {
        let artifacts = self.folder.join("artifacts").join(target);
        fs::create_dir_all(&artifacts).with_context(|| format!("making {}", artifacts.display()))?;
        let mut command = self.command(program);
        command
            .args(["-print_final_stats=1", "-timeout=10"])
            .arg(format!("-max_total_time={}", time.as_secs()))
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .arg(corpus)
            .args(self.seeds(target))
            .args(self.dictionary(target))
            .args(SLOW.contains(&target).then_some("-use_counters=0"))
            .stderr(Stdio::piped());
        let start = Instant::now();
        let mut child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        let mut run = Run::default();
        for line in BufReader::new(child.stderr.take().context("it has a pipe")?).split(b'\n') {
            let line = line.context("reading the output of the target")?;
            let line = String::from_utf8_lossy(&line);
            if visible {
                say(&line);
            }
            run.read(&line);
        }
        let status = child.wait().context("waiting for the target")?;
        run.seconds = start.elapsed().as_secs();
        if status.success() {
            run.finding = None;
        } else if run.finding.is_none() {
            run.finding = Some(format!("it ended with {status}"));
        }
        Ok(run)
    }
}

impl Run {
    /// Reads a line such as `#639517 DONE cov: 840 ft: 1606 corp: 355/22Kb lim: 3046 exec/s: 39969 rss: 28Mb`.
    fn read(&mut self, line: &str) {
        let after = |words: &str| {
            let rest = line.split_once(words)?.1.trim_start();
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        };
        if line.starts_with("INFO: Loaded 1 modules") {
            self.of_edges = after("(").unwrap_or_default();
        } else if line.starts_with('#') {
            self.past_seeds |= line.contains("INITED");
            self.executions = after("#").unwrap_or(self.executions);
            self.edges = after(" cov: ").unwrap_or(self.edges);
            self.inputs = after(" corp: ").unwrap_or(self.inputs);
        } else if line.starts_with("stat::number_of_executed_units:") {
            self.executions = after(":number_of_executed_units:").unwrap_or(self.executions);
        } else if let Some((_, input)) = line.split_once("Test unit written to ") {
            self.input = Some(input.trim().into());
        } else if line.contains("panicked at") || (line.contains("ERROR: libFuzzer:") && self.finding.is_none()) {
            self.finding = Some(line.trim().to_owned());
        }
    }
}

/// Returns the target triple of the compiler's host, which cargo-fuzz builds for.
///
/// # Errors
/// If the compiler names no host.
pub(crate) fn host_triple() -> Result<String> {
    let version = output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names no host")?.to_owned())
}
