//! `openflow`: messages, actions, matches, flows between bytes and `ovs-ofctl`'s text.
//!
//! Input goes through line by line: memory does not grow with it, and a bad line stops nothing. What one line becomes stands
//! in `openflow/convert.rs`, captures in `openflow/pcap.rs`.

mod convert;
mod pcap;

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write};

use serde::Serialize;

use crate::cli::{OpenFlowOptions, OpenFlowVerb};
use crate::failure::{Failure, Found};
use convert::{Converted, Converter};

/// Bytes of a line that are read at most; a message of 64 KiB in hexadecimal with blanks between bytes is shorter.
const MAX_LINE: u64 = 1 << 20;

/// One line of `--json-lines`.
#[derive(Serialize)]
struct Printed<'a> {
    text: &'a str,
    reencoded: Option<&'a str>,
    error: Option<&'a str>,
}

pub(super) fn run(options: OpenFlowOptions, verb: OpenFlowVerb) -> Result<Found, Failure> {
    let mut out = Output {
        out: BufWriter::new(io::stdout().lock()),
        json: options.json_lines,
        is_print: matches!(verb, OpenFlowVerb::Print { .. }),
        found: Found::Nothing,
    };
    if let OpenFlowVerb::Print { pcap: Some(path), .. } = &verb {
        let file = File::open(path).map_err(Failure::Input)?;
        pcap::each_message(BufReader::new(file), &mut |frame| out.line(&convert::message(frame)))?;
        return out.finish();
    }
    let (converter, arguments) = Converter::new(options.of, verb);
    for argument in &arguments {
        out.line(&converter.convert(argument))?;
    }
    if arguments.is_empty() {
        let mut input = BufReader::new(io::stdin().lock());
        let mut line = Vec::new();
        while read_line(&mut input, &mut line)? {
            let text = String::from_utf8_lossy(&line);
            out.line(&converter.convert(text.trim()))?;
            // Whoever feeds lines one by one sees each answer.
            if input.buffer().is_empty() {
                out.out.flush()?;
            }
        }
    }
    out.finish()
}

/// Reads a line without its newline; false at the end. A line that is too long loses its end.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool, Failure> {
    line.clear();
    let n = input.by_ref().take(MAX_LINE).read_until(b'\n', line).map_err(Failure::Input)?;
    if n == 0 {
        return Ok(false);
    }
    if line.last() != Some(&b'\n') {
        input.skip_until(b'\n').map_err(Failure::Input)?;
    }
    Ok(true)
}

/// Standard output, and whether something was wrong.
struct Output<'o> {
    out: BufWriter<io::StdoutLock<'o>>,
    json: bool,
    is_print: bool,
    found: Found,
}

impl Output<'_> {
    fn line(&mut self, converted: &Converted) -> Result<(), Failure> {
        let Converted { text, reencoded, error, .. } = converted;
        if error.is_some() {
            self.found = Found::Something;
        }
        if self.json {
            let printed = Printed { text, reencoded: reencoded.as_deref(), error: error.as_deref() };
            let line = serde_json::to_string(&printed).map_err(io::Error::from)?;
            return Ok(writeln!(self.out, "{line}")?);
        }
        match error {
            // A message that is refused prints with its error's name.
            Some(error) if !self.is_print => writeln!(self.out, "***error: {error}***")?,
            _ => writeln!(self.out, "{}", converted.shown())?,
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Found, Failure> {
        self.out.flush()?;
        Ok(self.found)
    }
}
