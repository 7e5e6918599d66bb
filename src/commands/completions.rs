//! What helps to write a line: `switchback completions SHELL`, the hidden `switchback complete` that those scripts ask,
//! `switchback help` and `switchback man`. All from the command line itself and the catalogue.

use crate::{
    client::{ClientArguments, Environment},
    commands::message,
    completion::{self, Candidate, Offer},
    failure::Failure,
    manual,
    output::Output,
};
use clap::{Args, Command, Subcommand, ValueEnum};
use std::path::PathBuf;

/// `switchback completions`.
#[derive(Args)]
pub struct CompletionsArguments {
    /// For which shell.
    shell: Shell,
}

#[derive(Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Writes the shell's script, which asks this program what a line may go on with.
pub fn completions(arguments: CompletionsArguments, output: &mut Output) -> Result<(), Failure> {
    Ok(output.text(match arguments.shell {
        Shell::Bash => include_str!("../completion/switchback.bash"),
        Shell::Zsh => include_str!("../completion/switchback.zsh"),
        Shell::Fish => include_str!("../completion/switchback.fish"),
    })?)
}

/// `switchback complete`.
#[derive(Args)]
pub struct CompleteArguments {
    #[command(subcommand)]
    shell: Asking,
}

#[derive(Subcommand)]
enum Asking {
    /// The line up to the cursor, and the characters at which readline ends a word.
    #[command(disable_help_flag = true)]
    Bash {
        #[arg(allow_hyphen_values = true)]
        breaks: String,
        #[arg(allow_hyphen_values = true)]
        line: String,
    },
    /// The word at the cursor and those before it.
    #[command(disable_help_flag = true)]
    Zsh {
        #[arg(allow_hyphen_values = true)]
        current: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// The same.
    #[command(disable_help_flag = true)]
    Fish {
        #[arg(allow_hyphen_values = true)]
        current: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
}

/// Writes what the line may go on with, a line for each.
pub fn complete(
    arguments: CompleteArguments,
    line: Command,
    environment: &Environment,
    output: &mut Output,
) -> Result<(), Failure> {
    type Written = Box<dyn Fn(&Candidate) -> Option<String>>;
    let (words, current, written): (Vec<String>, String, Written) = match arguments.shell {
        Asking::Bash { breaks, line: text } => {
            let typed = Typed::read(&text, &breaks);
            let (words, current) = (typed.words.clone(), typed.current.clone());
            (words, current, Box::new(move |candidate| typed.rest(candidate)))
        }
        Asking::Zsh { current, words } => {
            let more = |candidate: &Candidate| if candidate.more { "more" } else { "done" };
            (words, current, Box::new(move |one| Some(format!("{}\t{}\t{}", more(one), one.text, one.help))))
        }
        Asking::Fish { current, words } => {
            (words, current, Box::new(|one| Some(format!("{}\t{}", one.text, one.help))))
        }
    };
    match completion::offer(line, &words, &current, environment) {
        Offer::Files => output.text(":files\n")?,
        Offer::Words(words) => {
            let lines: Vec<String> = words.iter().filter_map(written).collect();
            output.text(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
        }
    }
    Ok(())
}

/// A line of bash up to the cursor. Readline replaces only what stands after the last character that ends a word for it.
#[derive(PartialEq, Default, Debug)]
struct Typed {
    /// The words after the program's name, without their quotes.
    words: Vec<String>,
    /// The word at the cursor, without its quotes.
    current: String,
    /// How much of it readline leaves alone, bytes.
    kept: usize,
    /// The quote that is open.
    quote: Option<char>,
}

impl Typed {
    fn read(line: &str, breaks: &str) -> Typed {
        let mut typed = Typed::default();
        let mut begun = false;
        let mut chars = line.chars();
        while let Some(c) = chars.next() {
            match (typed.quote, c) {
                (None, c) if c.is_whitespace() => {
                    if begun {
                        typed.words.push(std::mem::take(&mut typed.current));
                    }
                    (begun, typed.kept) = (false, 0);
                    continue;
                }
                (None, '\'' | '"') => {
                    typed.quote = Some(c);
                    typed.kept = typed.current.len();
                }
                (Some(quote), c) if c == quote => {
                    typed.quote = None;
                    typed.kept = typed.current.len();
                }
                (None, '\\') | (Some('"'), '\\') => typed.current.extend(chars.next()),
                (quote, c) => {
                    typed.current.push(c);
                    if quote.is_none() && breaks.contains(c) {
                        typed.kept = typed.current.len();
                    }
                }
            }
            begun = true;
        }
        // Assignments may stand before the program.
        let program = typed.words.iter().position(|word| !word.contains('=') || word.contains('/'));
        typed.words.drain(..program.map_or(typed.words.len(), |at| at + 1));
        typed
    }

    /// What readline shall put in the place of what it replaces.
    fn rest(&self, candidate: &Candidate) -> Option<String> {
        let rest = candidate.text.get(self.kept..)?;
        if let Some(quote) = self.quote {
            return (!rest.contains([quote, '\\', '$', '`'])).then(|| rest.to_string());
        }
        let mut written = String::with_capacity(rest.len() + 1);
        for c in rest.chars() {
            // A tilde at the beginning of a word, as bash sees words, is a home.
            let home = c == '~' && (written.is_empty() || written.ends_with(['=', ':']));
            if home || !c.is_alphanumeric() && !"=,.:+-_/@%~".contains(c) {
                written.push('\\');
            }
            written.push(c);
        }
        if !candidate.more {
            written.push(' ');
        }
        Some(written)
    }
}

/// `switchback help`.
#[derive(Args)]
pub struct HelpArguments {
    #[command(flatten)]
    client: ClientArguments,
    /// A command, with its own commands, or a message.
    words: Vec<String>,
}

/// Says how a command or a message is written.
pub fn help(
    arguments: HelpArguments,
    outer: &ClientArguments,
    mut line: Command,
    output: &mut Output,
) -> Result<(), Failure> {
    output.format = arguments.client.over(outer).format();
    line.build();
    let mut command = line;
    for (at, word) in arguments.words.iter().enumerate() {
        if command.find_subcommand(word).is_none() {
            let known: Vec<String> = command.get_subcommands().map(|command| command.get_name().to_string()).collect();
            let found = message::find(word, &known);
            return match found.ok().filter(|_| at == 0 && arguments.words.len() == 1) {
                Some(message) => message::describe(message, output),
                None => Err(Failure::usage(format!("there is no command `{}`", arguments.words.join(" ")))
                    .hint("switchback help lists the commands, switchback messages the messages")),
            };
        }
        let Some(inner) = command.find_subcommand(word).cloned() else { break };
        command = inner;
    }
    let help = command.render_long_help().to_string();
    Ok(output.text(&help)?)
}

/// `switchback man`.
#[derive(Args)]
pub struct ManArguments {
    /// Write all pages into this directory instead of one to stdout: the main page, one for each command and one for each message.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// The page of this command or message: `CreateL3Network`, `audit log`.
    #[arg(conflicts_with = "directory")]
    words: Vec<String>,
}

/// Writes manual pages.
pub fn man(arguments: ManArguments, line: Command, output: &mut Output) -> Result<(), Failure> {
    let pages = manual::pages(line)?;
    if let Some(directory) = arguments.directory {
        std::fs::create_dir_all(&directory)?;
        for (name, page) in &pages {
            std::fs::write(directory.join(format!("{name}.1")), page)?;
        }
        output.note(&format!("wrote {} pages; `man -l {}/switchback.1` reads one", pages.len(), directory.display()));
        return Ok(());
    }
    let wanted = std::iter::once("switchback").chain(arguments.words.iter().map(String::as_str));
    let wanted = wanted.collect::<Vec<_>>().join("-");
    match pages.iter().find(|(name, _)| name.eq_ignore_ascii_case(&wanted)) {
        Some((_, page)) => Ok(output.text(page)?),
        None => Err(Failure::usage(format!("there is no page `{wanted}`"))
            .hint("switchback help lists the commands, switchback messages the messages")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BREAKS: &str = " \t\n\"'@><=;|&(:";

    fn typed(line: &str) -> (Vec<String>, String, String) {
        let typed = Typed::read(line, BREAKS);
        let kept = typed.current[..typed.kept].to_string();
        (typed.words, typed.current, kept)
    }

    #[test]
    fn a_line_of_bash_is_read_as_readline_does() {
        let cases = [
            ("switchback Cre", "", "Cre", ""),
            ("switchback ", "", "", ""),
            ("A=b /usr/bin/switchback -o json CreateZone name=x  desc", "-o json CreateZone name=x", "desc", ""),
            ("switchback CreateL3Network l2NetworkUuid=la", "CreateL3Network", "l2NetworkUuid=la", "l2NetworkUuid="),
            ("switchback QueryVmNic mac=fa:99:e", "QueryVmNic", "mac=fa:99:e", "mac=fa:99:"),
            ("switchback QueryZone 'name~=we", "QueryZone", "name~=we", ""),
            ("switchback QueryZone name=\"we", "QueryZone", "name=we", "name="),
            ("switchback QueryZone name=a\\ b", "QueryZone", "name=a b", "name="),
            ("switchback QueryZone cpu\\>=4", "QueryZone", "cpu>=4", "cpu>="),
        ];
        for (line, words, current, kept) in cases {
            let words: Vec<String> = words.split_whitespace().map(String::from).collect();
            assert_eq!(typed(line), (words, current.to_string(), kept.to_string()), "{line}");
        }
    }

    #[test]
    fn bash_gets_the_rest_of_a_word_so_that_it_means_itself() {
        let rest = |line: &str, text: &str, more: bool| {
            let candidate = Candidate { text: text.to_string(), help: String::new(), more };
            Typed::read(line, BREAKS).rest(&candidate)
        };
        assert_eq!(rest("s CreateZ", "CreateZone", false).as_deref(), Some("CreateZone "));
        assert_eq!(rest("s x l2=a", "l2=a b$c", false).as_deref(), Some("a\\ b\\$c "));
        assert_eq!(rest("s x na", "name~=", true).as_deref(), Some("name~="));
        assert_eq!(rest("s x 'na", "name~=", true).as_deref(), Some("name~="));
        assert_eq!(rest("s x 'na", "na'me", true), None);
    }
}
