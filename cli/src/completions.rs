//! `nearfab completions`: scripts that complete the commands and options of nearfab in a shell.

use std::io::{self, Write};

use clap::ValueEnum;

pub(crate) const HELP: &str = "\
To load the completions into the shell that runs now:
  bash  source <(nearfab completions bash)
  zsh   source <(nearfab completions zsh), after compinit
  fish  nearfab completions fish | source
To load them at every start, write them to a file:
  bash  /usr/share/bash-completion/completions/nearfab
  zsh   _nearfab, in a folder of $fpath
  fish  ~/.config/fish/completions/nearfab.fish";

/// The shells that the script is tested in.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Writes the script of a shell.
pub(crate) fn write(shell: Shell, out: &mut dyn Write) -> io::Result<()> {
    let generator = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    // clap_complete panics if its writer fails, which a Vec never does and a closed pipe may.
    let mut script = Vec::new();
    clap_complete::generate(generator, &mut visible_commands(), "nearfab", &mut script);
    out.write_all(&script)
}

/// Returns the command line without the hidden commands, which clap_complete would complete too.
fn visible_commands() -> clap::Command {
    let all = crate::command();
    let visible = all.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    clap::Command::new("nearfab")
        .version(env!("CARGO_PKG_VERSION"))
        .args(all.get_arguments().cloned())
        .groups(all.get_groups().cloned())
        .subcommands(visible)
}
