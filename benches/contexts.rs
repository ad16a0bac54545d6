//! Measures the cost of sharing an open interface: `Efa::open` of an open interface, and the drop of the new handle.
//! The benchmark uses a stand-in for libibverbs on an emulated machine. Run: `cargo bench --bench contexts`.

#[path = "../tests/support/allocations.rs"]
mod allocations;
#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the benchmark uses only the machine and a stand-in")]
mod support;

use std::thread;
use std::time::{Duration, Instant};

use allocations::allocations;
use nearfab::context::Efa;
use nearfab::{Bdf, Host};
use support::{Machine, Skip};

const OPENINGS: u32 = 1_000_000;
const ROUNDS: u32 = 7;
const THREADS: u32 = 8;

fn main() {
    if std::env::var_os(support::INSIDE).is_some() {
        return measure();
    }
    let on_machine = || {
        let mut machine = Machine::new()?;
        machine.add_stub()?;
        Ok(machine.run(&[]))
    };
    match on_machine() {
        Ok(output) => {
            print(&format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
        }
        Err(Skip(reason)) => nearfab_emu::skipped("contexts", reason),
    }
}

fn measure() {
    let host = Host::discover().expect("the emulated machine");
    let efa = host.efa_interfaces()[0].address();
    let _kept = Efa::open(&host, efa).expect("the stand-in opens it");

    let before = allocations();
    let alone = (0..ROUNDS).map(|_| open_and_drop(&host, efa)).min().unwrap_or_default();
    let allocations = allocations() - before;
    print("| threads | opening and closing an open interface | allocations |\n|---|---|---|\n");
    print(&format!("| 1 | {} ns | {allocations} |\n", alone.as_nanos() / u128::from(OPENINGS)));

    let start = Instant::now();
    thread::scope(|scope| {
        (0..THREADS).for_each(|_| drop(scope.spawn(|| open_and_drop(&host, efa))));
    });
    let each = start.elapsed().as_nanos() / u128::from(OPENINGS * THREADS);
    print(&format!("| {THREADS}, on one interface | {each} ns of all | |\n"));
}

fn open_and_drop(host: &Host, efa: Bdf) -> Duration {
    let start = Instant::now();
    for _ in 0..OPENINGS {
        drop(Efa::open(host, efa).expect("it is open"));
    }
    start.elapsed()
}

fn print(text: &str) {
    use std::io::Write;
    // A failed write is ignored: the reader of the table is gone.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
