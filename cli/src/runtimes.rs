//! `nearfab runtimes`: the vendor libraries that a program on this machine would load.

use std::io::{self, Write};

use nearfab::vendor::{self, Missing, Runtime};
use serde::Serialize;

use crate::output::{Output, answer};
use crate::table::{Table, or_unknown};

/// The answer in JSON.
#[derive(Serialize)]
struct Answer {
    runtimes: Vec<LibraryRow>,
}

/// A library, or the reason why it cannot be loaded.
#[derive(Serialize)]
struct LibraryRow {
    soname: &'static str,
    path: Option<String>,
    version: Option<String>,
    missing: Vec<MissingSymbol>,
    error: Option<String>,
}

/// A function that the library does not have, and the effect of the missing function.
#[derive(Serialize)]
struct MissingSymbol {
    symbol: &'static str,
    means: &'static str,
}

impl LibraryRow {
    fn of((soname, found): (&'static str, nearfab::Result<Runtime>)) -> Self {
        let symbol = |missing: Missing| MissingSymbol { symbol: missing.symbol, means: missing.means };
        match found {
            Ok(Runtime { path, version, missing, .. }) => {
                Self { soname, path, version, missing: missing.into_iter().map(symbol).collect(), error: None }
            }
            Err(error) => {
                Self { soname, path: None, version: None, missing: Vec::new(), error: Some(error.to_string()) }
            }
        }
    }
}

pub(crate) fn write(output: Output, out: &mut dyn Write) -> io::Result<()> {
    let runtimes: Vec<LibraryRow> = vendor::all().into_iter().map(LibraryRow::of).collect();
    if output == Output::Json {
        return answer("runtimes", Answer { runtimes }, out);
    }
    let mut table = Table::of(&runtimes);
    table.add("LIBRARY", |library| library.soname.to_owned());
    table.add("VERSION", |library| or_unknown(library.version.as_ref()));
    table.add("PATH", |library| or_unknown(library.path.as_ref()));
    table.write(out)?;
    writeln!(out)?;
    for library in &runtimes {
        for MissingSymbol { symbol, means } in &library.missing {
            writeln!(out, "{} has no {symbol}: {means}.", library.soname)?;
        }
        if let Some(error) = &library.error {
            writeln!(out, "{error}.")?;
        }
    }
    Ok(())
}
