//! Compares the cost of messages through nearfab with the same loop in C: the instructions around each call of
//! libfabric, and the time of a round trip. Run: `cargo bench --bench ping`.

#![expect(unsafe_code, reason = "the library reads and writes memory of the caller while it sends and receives")]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and fails if it cannot run")]

#[path = "../examples/ping/side.rs"]
mod side;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

const ANSWER: &str = "answer";
/// The providers that every host has, with enough round trips to take a large part of a second.
const PROVIDERS: [(&str, u64); 2] = [("tcp", 20_000), ("shm", 300_000)];
/// The number of round trips under callgrind. With this number, the instructions of connecting do not matter.
const COUNTED_ROUNDS: u64 = 20_000;
const PAIRS: u32 = 30;
/// Student's t for 29 degrees of freedom, both sides.
const T_95: f64 = 2.045;

fn main() -> side::Result<()> {
    // cargo bench adds the argument --bench.
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [provider, rounds, rest @ ..] = &arguments[..] {
        return if rest.is_empty() { ask(provider, rounds.parse()?) } else { side::answer(provider, rounds.parse()?) };
    }
    let scratch = tempfile::tempdir()?;
    let (own, twin) = (env::current_exe()?, scratch.path().join("twin"));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/ping.c");
    if !Command::new("cc").args(["-O2", "-o"]).arg(&twin).args([source, "-lfabric"]).status()?.success() {
        println!("SKIPPED ping: no C compiler, or no libfabric to build with (Debian: libfabric-dev)");
        return Ok(());
    }
    println!(
        "| provider | instructions for a send, nearfab | C | for a receive | C | for a read | C | round trip, nearfab | C \
         | nearfab : C, 95 % interval |\n|---|---|---|---|---|---|---|---|---|---|"
    );
    for (provider, rounds) in PROVIDERS {
        let counts: Vec<String> = ["send_one", "receive_one", "read_some"]
            .iter()
            .enumerate()
            .flat_map(|(call, function)| [&own, &twin].map(|program| (program.clone(), call, *function)))
            .map(|(program, call, function)| {
                format!("{:.1}", instructions(&program, provider, call, function, scratch.path()))
            })
            .collect();
        println!("| {provider} | {} | {}", counts.join(" | "), times(&own, &twin, provider, rounds));
    }
    Ok(())
}

fn ask(provider: &str, rounds: u64) -> side::Result<()> {
    let mut other = Command::new(env::current_exe()?);
    other.args([provider, &rounds.to_string(), ANSWER]);
    let side::Report { round_trip, calls } = side::ask(provider, rounds, other)?;
    println!("{} {} {} {}", round_trip.as_nanos(), calls.sends, calls.receives, calls.reads);
    Ok(())
}

/// Returns the nanoseconds of a round trip, and the number of calls of each kind.
fn run(mut command: Command) -> (f64, [f64; 3]) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<f64> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let [nanoseconds, sends, receives, reads] = numbers[..] else { panic!("{text}") };
    (nanoseconds, [sends, receives, reads])
}

/// Returns the number of the program's own instructions for each call of a function, without the instructions of
/// libfabric.
fn instructions(program: &Path, provider: &str, call: usize, function: &str, scratch: &Path) -> f64 {
    let file = scratch.join("callgrind.out");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", &format!("--toggle-collect=*{function}*")]);
    valgrind.arg(format!("--callgrind-out-file={}", file.display()));
    valgrind.arg(program).args([provider, &COUNTED_ROUNDS.to_string()]);
    let (_, calls) = run(valgrind);
    let all = self_cost(&fs::read_to_string(&file).unwrap(), program);
    assert!(all > 0.0, "callgrind saw no {function} in {}", program.display());
    all / calls[call]
}

/// Returns callgrind's count of instructions in the program's own file, without called functions.
fn self_cost(text: &str, program: &Path) -> f64 {
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    let (mut is_own, mut is_inclusive, mut cost) = (false, false, 0.0);
    for line in text.lines() {
        if let Some(object) = line.strip_prefix("ob=") {
            // The first line about an object has its number and name, later lines have only the number.
            let (number, name) = object.split_once(' ').unwrap_or((object, ""));
            let name = if name.is_empty() { names[number] } else { name };
            names.insert(number, name);
            is_own = Path::new(name) == program;
        } else if let Some((number, name)) = line.strip_prefix("cob=").and_then(|object| object.split_once(' ')) {
            names.insert(number, name);
        } else if line.starts_with("calls=") {
            is_inclusive = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            let own = line.split(' ').nth(1).filter(|_| is_own && !is_inclusive);
            cost += own.map_or(0.0, |own| own.parse().unwrap());
            is_inclusive = false;
        }
    }
    cost
}

/// Measures both programs in turns. Each program is first in half of the pairs.
fn times(own: &Path, twin: &Path, provider: &str, rounds: u64) -> String {
    let time = |program: &Path| {
        let mut command = Command::new(program);
        command.args([provider, &rounds.to_string()]);
        run(command).0
    };
    let pairs: Vec<(f64, f64)> = (0..PAIRS)
        .map(|pair| {
            if pair % 2 == 0 {
                let own = time(own);
                (own, time(twin))
            } else {
                let twin = time(twin);
                (time(own), twin)
            }
        })
        .collect();
    let logs: Vec<f64> = pairs.iter().map(|(own, twin)| (own / twin).ln()).collect();
    let count = f64::from(PAIRS);
    let mean = logs.iter().sum::<f64>() / count;
    let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let half = T_95 * (variance / count).sqrt();
    let middle = |which: fn(&(f64, f64)) -> f64| {
        let mut all: Vec<f64> = pairs.iter().map(which).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2] / 1000.0
    };
    format!(
        "{:.2} µs | {:.2} µs | {:.3} ({:.3} to {:.3}) |",
        middle(|pair| pair.0),
        middle(|pair| pair.1),
        mean.exp(),
        (mean - half).exp(),
        (mean + half).exp()
    )
}
