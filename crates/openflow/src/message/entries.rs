//! The entries of a multipart reply, decoded as they are asked for.
//!
//! Owns the walk. What an entry is stands in the file of its family, as an implementation of [`Entry`].

use std::marker::PhantomData;

use crate::cursor::Reader;
use crate::error::{DecodeError, EncodeError, Malformed};
use crate::types::Version;
use crate::writer::Writer;

/// What a reply holds many of.
pub trait Entry<'a>: Sized {
    /// The name in errors.
    const NAME: &'static str;

    /// Reads one, leaving the reader behind it.
    fn read(reader: &mut Reader<'a>, version: Version) -> Result<Self, DecodeError>;

    /// Appends one in the form of the writer's version, as a switch does.
    fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError>;
}

/// The entries of one part of a reply; stops after an error.
#[derive(Debug)]
pub struct Entries<'a, T> {
    reader: Reader<'a>,
    version: Version,
    entry: PhantomData<fn() -> T>,
}

// Not derived: that would ask for `T: Clone`.
impl<T> Clone for Entries<'_, T> {
    fn clone(&self) -> Self {
        Self { reader: self.reader, version: self.version, entry: PhantomData }
    }
}

impl<'a, T: Entry<'a>> Entries<'a, T> {
    /// Takes all that is left in `reader`.
    pub(crate) fn take(reader: &mut Reader<'a>, version: Version) -> Self {
        let entries = reader.named(T::NAME);
        reader.rest();
        Self { reader: entries, version, entry: PhantomData }
    }

    /// Appends all in the form of the writer's version.
    pub(crate) fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        self.clone().try_for_each(|entry| entry.map_err(EncodeError::Entry)?.write(w))
    }

    /// The first error, if there is one.
    pub(crate) fn check(&self) -> Result<(), DecodeError> {
        self.clone().try_for_each(|entry| entry.map(|_| ()))
    }
}

impl<'a, T: Entry<'a>> Iterator for Entries<'a, T> {
    type Item = Result<T, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let entry = T::read(&mut self.reader, self.version);
        if entry.is_err() {
            self.reader.rest();
        }
        Some(entry)
    }
}

/// A reader over what is left of a structure that begins with its own length as u16; `reader` moves behind it.
pub(crate) fn measured<'a>(reader: &mut Reader<'a>, what: &'static str) -> Result<Reader<'a>, DecodeError> {
    let start = reader.named(what);
    let len = usize::from(reader.u16()?);
    let body = len.checked_sub(2).ok_or_else(|| start.fail(Malformed::BadLength(0)))?;
    reader.sub(body, what)
}
