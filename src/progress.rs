//! How far long work is, on stderr if that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::{
    fmt::Write,
    io::{self, Read},
    sync::Arc,
};
use switchback::node::Progress;

/// A bar over positions of the log.
pub fn bar(doing: &str) -> ProgressBar {
    let template = format!("{doing} {{bar:30}} {{pos}}/{{len}} events, {{rate}}, {{eta}} left");
    styled(Some(0), &template)
}

/// A bar over bytes of a file.
pub fn bytes_bar(doing: &str, length: u64) -> ProgressBar {
    styled(Some(length), &format!("{doing} {{bar:30}} {{bytes}}/{{total_bytes}}, {{bytes_per_sec}}, {{eta}} left"))
}

/// That a server is at work.
pub fn spinner() -> ProgressBar {
    styled(None, "{spinner} the server reads its log, {elapsed}")
}

fn styled(length: Option<u64>, template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.with_key("rate", |state: &ProgressState, to: &mut dyn Write| {
            let _ = write!(to, "{:.0}/s", state.per_sec());
        })),
        Err(_) => bar,
    }
}

/// Moves a bar to the position reached of those to reach.
pub fn moves(bar: &ProgressBar) -> Progress {
    let bar = bar.clone();
    Arc::new(move |reached, upto| {
        if bar.length() != Some(upto) {
            bar.set_length(upto);
        }
        bar.set_position(reached);
    })
}

/// Moves a bar by the bytes that are read.
pub struct Watched<R> {
    /// Whose bytes.
    pub reader: R,
    /// Which bar.
    pub bar: ProgressBar,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.bar.inc(read as u64);
        Ok(read)
    }
}
