//! The console blocks of the documentation show the output of this nearfab.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{nearfab, overwrites};

/// The start of a block that is compared. Blocks with another info string, such as `console,ignore`, are not compared.
const START: &str = "```console";
const PROMPT: &str = "$ nearfab ";

fn pages() -> Vec<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut pages = vec![top.join("README.md"), top.join("cli/README.md")];
    let mut folders = vec![top.join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.retain(|page| page.exists());
    pages.sort();
    pages
}

/// Returns the page with the current output of each nearfab command, and the number of commands.
///
/// Only blocks whose commands are all nearfab's are changed. `? 1` after a command is its exit status.
fn update(page: &str) -> (String, usize) {
    let (mut updated, mut commands) = (String::new(), 0);
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        updated += &format!("{line}\n");
        if line != START {
            continue;
        }
        let block: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
        let prompts: Vec<&str> = block.iter().filter(|line| line.starts_with("$ ")).copied().collect();
        if prompts.iter().all(|prompt| prompt.starts_with(PROMPT)) {
            let outputs: Vec<String> = prompts.iter().map(|prompt| run(prompt)).collect();
            commands += outputs.len();
            updated += &outputs.join("\n");
        } else {
            block.iter().for_each(|line| updated += &format!("{line}\n"));
        }
        updated += "```\n";
    }
    (updated, commands)
}

fn run(prompt: &str) -> String {
    let arguments: Vec<&str> = prompt.trim_start_matches(PROMPT).split(' ').collect();
    let output = nearfab(&arguments);
    let status = if output.status == 0 { String::new() } else { format!("? {}\n", output.status) };
    format!("{prompt}\n{status}{}{}", output.stdout, output.stderr)
}

/// Blank lines at the end of a block do not count.
fn without_blank_ends(page: &str) -> String {
    let mut page = page.to_owned();
    while page.contains("\n\n```\n") {
        page = page.replace("\n\n```\n", "\n```\n");
    }
    page
}

#[test]
fn console_blocks_show_real_output() {
    let mut all = 0;
    for page in pages() {
        let kept = fs::read_to_string(&page).unwrap();
        let (updated, commands) = update(&kept);
        all += commands;
        let is_same = without_blank_ends(&kept) == without_blank_ends(&updated);
        if overwrites() && !is_same {
            fs::write(&page, updated).unwrap();
            continue;
        }
        let differing = kept.lines().zip(updated.lines()).find(|(kept, updated)| kept != updated);
        assert!(is_same, "{}: SNAPSHOTS=overwrite writes the blocks anew. {differing:#?}", page.display());
    }
    assert!(all >= 3, "README.md shows some outputs");
}

#[test]
fn wrong_block_is_corrected() {
    let page = "text\n```console\n$ nearfab near x --instance trn2.48xlarge\nold\n```\n```console\n$ ls\nold\n```\n";
    let (updated, commands) = update(page);
    assert_eq!(commands, 1);
    assert!(
        updated.starts_with("text\n```console\n$ nearfab near x --instance trn2.48xlarge\n? 1\nnearfab: "),
        "{updated}"
    );
    assert!(updated.ends_with("```console\n$ ls\nold\n```\n") && updated.matches("old").count() == 1, "{updated}");
}
