//! Where text goes: a small buffer in front of any writer, and the names that ports have.
//!
//! Owns the speed of printing: a flow is dozens of pieces of a few bytes, and each costs a copy here instead of a call
//! through a formatter. Must not know what is printed.

use std::fmt::{self, Write};

use super::ports::PortNames;
use crate::types::OfPort;

/// Text on its way.
pub(crate) struct Out<'o> {
    sink: &'o mut dyn Write,
    ports: Option<&'o PortNames>,
    buf: [u8; BUFFER],
    used: usize,
    /// The last byte that has left the buffer.
    last: u8,
}

/// Bytes that are kept together: more than most flows have.
const BUFFER: usize = 512;

impl<'o> Out<'o> {
    /// Prints with `write` to `sink`, ports by number.
    pub(crate) fn show(
        sink: &'o mut dyn Write,
        write: impl FnOnce(&mut Out<'_>) -> fmt::Result,
    ) -> fmt::Result {
        Self::show_named(sink, None, write)
    }

    /// The same, with names for ports.
    pub(crate) fn show_named(
        sink: &'o mut dyn Write,
        ports: Option<&'o PortNames>,
        write: impl FnOnce(&mut Out<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let mut out = Out { sink, ports, buf: [0; BUFFER], used: 0, last: 0 };
        write(&mut out)?;
        out.flush()
    }

    /// A port by its reserved name, by the name that it was given, or by its number.
    pub(crate) fn port(&mut self, port: OfPort) -> fmt::Result {
        if let Some(name) = port.reserved_name() {
            return self.write_str(name);
        }
        match self.ports.and_then(|ports| ports.name(port)) {
            Some(name) => super::ports::write_name(self, name),
            None => super::digits::dec(self, u128::from(port.shown())),
        }
    }

    /// `len` ASCII characters, which `set` gives one by one from the last to the first.
    #[inline]
    pub(crate) fn ascii(&mut self, len: u32, set: impl FnMut(&mut u8)) -> fmt::Result {
        let len = usize::try_from(len).map_err(|_| fmt::Error)?;
        if self.used.saturating_add(len) > BUFFER {
            self.flush()?;
        }
        let end = self.used.saturating_add(len);
        let Some(room) = self.buf.get_mut(self.used..end) else { return Err(fmt::Error) };
        room.iter_mut().rev().for_each(set);
        self.used = end;
        Ok(())
    }

    /// Whether what has been written ends a line.
    pub(crate) fn is_at_line_start(&self) -> bool {
        let kept = self.buf.get(..self.used).and_then(<[u8]>::last);
        kept.copied().unwrap_or(self.last) == b'\n'
    }

    fn flush(&mut self) -> fmt::Result {
        let Some(kept) = self.buf.get(..self.used) else { return Err(fmt::Error) };
        let Some(last) = kept.last() else { return Ok(()) };
        self.last = *last;
        self.used = 0;
        // Only whole pieces of text are ever kept, so this cannot fail.
        self.sink.write_str(std::str::from_utf8(kept).map_err(|_| fmt::Error)?)
    }

    /// What does not fit any more.
    #[cold]
    fn overflow(&mut self, text: &str) -> fmt::Result {
        self.flush()?;
        if text.len() > BUFFER {
            self.last = text.as_bytes().last().copied().unwrap_or(self.last);
            return self.sink.write_str(text);
        }
        self.write_str(text)
    }
}

impl Write for Out<'_> {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let bytes = text.as_bytes();
        let end = self.used.saturating_add(bytes.len());
        let Some(room) = self.buf.get_mut(self.used..end) else { return self.overflow(text) };
        room.copy_from_slice(bytes);
        self.used = end;
        Ok(())
    }

    #[inline]
    fn write_char(&mut self, c: char) -> fmt::Result {
        match (u8::try_from(c), self.buf.get_mut(self.used)) {
            (Ok(byte), Some(place)) if byte.is_ascii() => {
                *place = byte;
                self.used = self.used.saturating_add(1);
                Ok(())
            }
            _ => self.write_str(c.encode_utf8(&mut [0; 4])),
        }
    }
}
