//! How a verb says things: results on stdout, remarks on stderr, as a person or a program wants them.

use super::{
    arguments::Output,
    failure::{Exit, Failure},
};
use serde::Serialize;
use std::io::Write;

/// Where a verb's words go.
pub(crate) struct Talk<'a> {
    pub(crate) output: Output,
    /// Whether somebody is watching: progress bars only then.
    pub(crate) terminal: bool,
    out: &'a mut dyn Write,
    remarks: &'a mut dyn Write,
}

impl<'a> Talk<'a> {
    pub(crate) fn new(
        output: Output,
        out: &'a mut dyn Write,
        remarks: &'a mut dyn Write,
        terminal: bool,
    ) -> Self {
        Self { output, terminal, out, remarks }
    }

    /// A line of the result.
    pub(crate) fn line(&mut self, text: impl std::fmt::Display) -> Result<(), Failure> {
        writeln!(self.out, "{}", shown(&text.to_string())).map_err(Failure::writing)
    }

    /// Lines of the result in columns.
    pub(crate) fn table(&mut self, rows: &[Vec<String>]) -> Result<(), Failure> {
        let mut columns = Columns::default();
        rows.iter().for_each(|row| columns.widen(row));
        rows.iter().try_for_each(|row| self.line(columns.line(row)))
    }

    /// A result that is bytes.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.out.write_all(bytes).and_then(|()| self.out.flush()).map_err(Failure::writing)
    }

    /// What was said so far can be read, also through a pipe.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(Failure::writing)
    }

    /// A document of the result, where `--json` asked for one.
    pub(crate) fn json(&mut self, document: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(document).expect("documents are plain data with text keys");
        self.line(text)
    }

    /// Something worth knowing beside the result.
    pub(crate) fn remark(&mut self, text: impl std::fmt::Display) -> Result<(), Failure> {
        if self.output.quiet {
            return Ok(());
        }
        writeln!(self.remarks, "{}", shown(&text.to_string())).map_err(Failure::writing)
    }

    pub(crate) fn raw_remarks(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.remarks.write_all(bytes).map_err(Failure::writing)
    }

    /// Where bytes of a result can be written as they come.
    pub(crate) fn sink(&mut self) -> &mut dyn Write {
        self.out
    }
}

/// Columns, each as wide as the widest cell so far.
#[derive(Default)]
pub(crate) struct Columns(Vec<usize>);

impl Columns {
    pub(crate) fn widen(&mut self, row: &[String]) {
        self.0.resize(self.0.len().max(row.len()), 0);
        for (width, cell) in self.0.iter_mut().zip(row) {
            *width = (*width).max(shown(cell).chars().count());
        }
    }

    pub(crate) fn line(&self, row: &[String]) -> String {
        let cells = row.iter().zip(&self.0).map(|(cell, width)| format!("{:width$}", shown(cell)));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    }
}

impl Failure {
    /// Stdout or stderr did not take what was said.
    pub(crate) fn writing(error: std::io::Error) -> Self {
        Self::of_writing(&error)
    }

    pub(crate) fn of_writing(error: &std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Done, CLOSED_PIPE);
        }
        Self::failed(format!("cannot write the result: {error}")).hint(WRITING_HINT)
    }

    pub(crate) fn is_closed_pipe(&self) -> bool {
        self.message == CLOSED_PIPE
    }
}

/// `text` with control characters spelled out: names may hold any, and must not paint the reader's terminal or break a
/// line.
pub(super) fn shown(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// What to do where a result cannot be written.
pub(super) const WRITING_HINT: &str =
    "has the disk room where it goes, and may you write there? then run it again";
const CLOSED_PIPE: &str = "nobody reads the result";
