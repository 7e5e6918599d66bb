//! The one way out: data to stdout, everything else to stderr.

use crate::{failure::Failure, table, yaml};
use clap::ValueEnum;
use serde_json::Value;
use std::io::{self, ErrorKind, Write};

/// How data is written.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// The server's reply as it is.
    Json,
    /// The same as YAML.
    Yaml,
}

/// Where data and words go.
pub struct Output<'a> {
    /// How data is written.
    pub format: Format,
    stdout: &'a mut dyn Write,
    stderr: &'a mut dyn Write,
    width: Option<u16>,
}

impl<'a> Output<'a> {
    /// To these two, at this width; none for no limit.
    pub fn new(stdout: &'a mut dyn Write, stderr: &'a mut dyn Write, width: Option<u16>) -> Output<'a> {
        Output { format: Format::Table, stdout, stderr, width }
    }

    /// Writes `whole` as JSON or YAML, or else what `table` writes.
    pub fn data(
        &mut self,
        whole: &Value,
        table: impl FnOnce(&mut Output<'a>) -> io::Result<()>,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Table => table(self)?,
            Format::Json => self.text(&format!("{whole:#}\n"))?,
            Format::Yaml => self.text(&yaml::document(whole))?,
        }
        Ok(())
    }

    /// Writes rows; says on stderr which columns had no room.
    pub fn rows<C: AsRef<str>>(&mut self, items: &[Value], columns: &[C]) -> io::Result<()> {
        let rendered = table::rows(items, columns, self.width);
        self.text(&rendered.text)?;
        if !rendered.left_out.is_empty() {
            self.note(&format!("not shown: {} (-o json shows all)", rendered.left_out.join(", ")));
        }
        Ok(())
    }

    /// Writes one thing, a line for each field.
    pub fn pairs(&mut self, value: &Value) -> io::Result<()> {
        let text = table::pairs(value, self.width);
        self.text(&text)
    }

    /// Writes data as it is. A reader that has gone away, such as `head`, is no failure.
    pub fn text(&mut self, text: &str) -> io::Result<()> {
        match self.stdout.write_all(text.as_bytes()).and_then(|()| self.stdout.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            done => done,
        }
    }

    /// Writes bytes as they are. Whether anyone still reads them.
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<bool> {
        match self.stdout.write_all(bytes) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            done => done.map(|()| true),
        }
    }

    /// Writes one line, cut where the terminal ends.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        let text = table::clean(text);
        match self.width.map(usize::from) {
            Some(width) if text.chars().count() > width => {
                let cut: String = text.chars().take(width.saturating_sub(1)).collect();
                self.text(&format!("{cut}…\n"))
            }
            _ => self.text(&format!("{text}\n")),
        }
    }

    /// Says something on stderr.
    pub fn note(&mut self, text: &str) {
        let text: Vec<String> = text.lines().map(table::clean).collect();
        let _ = writeln!(self.stderr, "{}", text.join("\n"));
    }

    /// Says on stderr why it failed.
    pub fn failure(&mut self, failure: &Failure) {
        self.note(&format!("error: {}", failure.detail));
        if let Some(code) = &failure.code {
            self.note(&format!("code: {code}"));
        }
        for field in &failure.fields {
            self.note(&format!("field: {field}"));
        }
        if !failure.blockers.is_empty() {
            self.note(&format!("blockers:\n  {}", failure.blockers.join("\n  ")));
        }
        if let Some(hint) = &failure.hint {
            self.note(&format!("hint: {hint}"));
        }
    }
}
