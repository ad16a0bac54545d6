//! Two processes send a number to each other through libfabric. Run: `cargo run --release --example ping -- tcp`. On a
//! host with EFA interfaces use `efa` instead of `tcp`.

#![expect(clippy::print_stdout, reason = "an example prints")]
#![expect(unsafe_code, reason = "libfabric uses the memory of a message until the message is sent")]

mod side;

use std::env;
use std::process::Command;

fn main() -> side::Result<()> {
    const ANSWER: &str = "--answer";
    let mut arguments: Vec<String> = env::args().skip(1).collect();
    let is_other = arguments.last().is_some_and(|last| last == ANSWER);
    arguments.truncate(arguments.len() - usize::from(is_other));
    let provider = arguments.first().map_or("tcp", String::as_str);
    let rounds: u64 = arguments.get(1).map_or(Ok(10_000), |rounds| rounds.parse())?;
    if is_other {
        return side::answer(provider, rounds);
    }
    let mut other = Command::new(env::current_exe()?);
    other.args([provider, &rounds.to_string(), ANSWER]);
    let side::Report { round_trip, calls } = side::ask(provider, rounds, other)?;
    println!("{rounds} round trips over {provider}: {round_trip:?} each");
    println!("sends {}, receives {}, reads {}", calls.sends, calls.receives, calls.reads);
    Ok(())
}
