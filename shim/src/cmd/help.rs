//! `completion` and `man`: the table of commands in other forms.

use super::{Failure, Outcome};
use crate::cli::{self, Invocation};

pub(crate) fn completion(invocation: &Invocation) -> Outcome {
    let shell = invocation.id();
    let unknown = || {
        Failure::plain(format!(
            "no completions for {shell}: only for bash, zsh and fish"
        ))
    };
    print!("{}", cli::completion(shell).ok_or_else(unknown)?);
    Ok(0)
}

pub(crate) fn manual(invocation: &Invocation) -> Outcome {
    let command = invocation.words.first().map(String::as_str);
    let unknown = || Failure::plain(format!("no such command: {}", command.unwrap_or_default()));
    print!("{}", cli::manual(command).ok_or_else(unknown)?);
    Ok(0)
}
