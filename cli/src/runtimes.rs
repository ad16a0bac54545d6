//! `nearfab runtimes`: the vendor libraries that programs of this machine get.

use std::io::{self, Write};

use nearfab::vendor::{self, Missing, Runtime};
use serde::Serialize;

use crate::output::{FORMAT, Output, json};
use crate::table::{Table, or_unknown};

#[derive(Serialize)]
struct Runtimes {
    format: u32,
    runtimes: Vec<Library>,
}

/// One library: what there is of it, or why there is nothing.
#[derive(Serialize)]
struct Library {
    soname: &'static str,
    path: Option<String>,
    version: Option<String>,
    missing: Vec<Lacking>,
    error: Option<String>,
}

#[derive(Serialize)]
struct Lacking {
    symbol: &'static str,
    means: &'static str,
}

impl Library {
    fn of((soname, found): (&'static str, nearfab::Result<Runtime>)) -> Self {
        let lacking = |missing: Missing| Lacking { symbol: missing.symbol, means: missing.means };
        match found {
            Ok(Runtime { path, version, missing, .. }) => {
                Self { soname, path, version, missing: missing.into_iter().map(lacking).collect(), error: None }
            }
            Err(error) => Self { soname, path: None, version: None, missing: Vec::new(), error: Some(error.chain()) },
        }
    }
}

pub(crate) fn write(output: Output, out: &mut dyn Write) -> io::Result<()> {
    let runtimes: Vec<Library> = vendor::all().into_iter().map(Library::of).collect();
    if output == Output::Json {
        return json(&Runtimes { format: FORMAT, runtimes }, out);
    }
    let mut table = Table::of(&runtimes);
    table.add("LIBRARY", |library| library.soname.to_owned());
    table.add("VERSION", |library| or_unknown(library.version.as_ref()));
    table.add("PATH", |library| or_unknown(library.path.as_ref()));
    table.write(out)?;
    writeln!(out)?;
    for library in &runtimes {
        for Lacking { symbol, means } in &library.missing {
            writeln!(out, "{} has no {symbol}: {means}.", library.soname)?;
        }
        if let Some(error) = &library.error {
            writeln!(out, "{error}.")?;
        }
    }
    Ok(())
}
