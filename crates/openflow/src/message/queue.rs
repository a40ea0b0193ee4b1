//! Queues: how they are configured and what they count.
//!
//! 1.3 asks with a message of its own: port u32, pad 4; the reply repeats both, then queue u32, port u32, length u16, pad 6
//! and properties of type u16, length u16, pad 4, rate u16, pad 6. From 1.4 on it is a multipart: port u32, queue u32; each
//! entry port u32, queue u32, length u16, pad 6, properties of type u16, length u16, rate u16, pad 2. Rates are tenths of a
//! percent. Statistics: (from 1.4 on: length u16, pad 6,) port u32, queue u32, bytes u64, packets u64, errors u64, duration s
//! u32, ns u32, (properties).

use std::time::Duration;

use bytes::BytesMut;

use super::entries::{Entry, measured};
use super::group::{read_counter, write_counter};
use super::{QUEUE_GET_CONFIG_REPLY, QUEUE_GET_CONFIG_REQUEST, write_message};
use crate::cursor::Reader;
use crate::error::{DecodeError, EncodeError, Malformed};
use crate::types::{OfPort, Version};
use crate::writer::{Pad, Writer};

/// Which queues a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueQuery {
    /// The port, [`OfPort::ANY`] for all.
    pub port: OfPort,
    /// The queue, [`ALL_QUEUES`] for all.
    pub queue: u32,
}

impl QueueQuery {
    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { port: r.port()?, queue: r.u32()? })
    }

    pub(super) fn write(self, w: &mut Writer<'_>) {
        w.u32(self.port.0);
        w.u32(self.queue);
    }
}

/// How a queue is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueDesc<'a> {
    /// Its port.
    pub port: OfPort,
    /// Its number.
    pub queue: u32,
    /// What it gets at least, in tenths of a percent; more than 1000 is "not limited".
    pub min_rate: Option<u16>,
    /// What it gets at most.
    pub max_rate: Option<u16>,
    /// All properties, if there are others than these two in this order: they are written again as they came, in the
    /// place of the rates. Else empty.
    pub unclear: &'a [u8],
}

impl<'a> QueueDesc<'a> {
    fn read_body(r: &mut Reader<'a>, port: OfPort, queue: u32, old: bool) -> Result<Self, DecodeError> {
        let start = *r;
        let len = r.u16()?;
        let body = usize::from(len).checked_sub(10);
        let body = body.ok_or_else(|| start.fail(Malformed::BadLength(u32::from(len))))?;
        // The length counts the eight bytes before it, too.
        let mut r = r.sub(body, "queue")?;
        r.skip(6)?;
        let mut this = Self { port, queue, min_rate: None, max_rate: None, unclear: &[] };
        let all = r.peek();
        let mut is_clear = true;
        while !r.is_empty() {
            let (kind, mut property) = r.tlv("queue property")?;
            property.skip(if old { 4 } else { 0 })?;
            match kind {
                MIN_RATE => {
                    is_clear &= this.min_rate.is_none() && this.max_rate.is_none();
                    this.min_rate = Some(property.u16()?);
                }
                MAX_RATE => {
                    is_clear &= this.max_rate.is_none();
                    this.max_rate = Some(property.u16()?);
                }
                _ => is_clear = false,
            }
            is_clear &= property.len() == if old { 6 } else { 2 };
        }
        this.unclear = if is_clear { &[] } else { all };
        Ok(this)
    }

    fn write_body(&self, w: &mut Writer<'_>, start: usize, old: bool) -> Result<(), EncodeError> {
        w.sized("queue", start, Pad::None, |w| {
            w.zeros(6);
            if !self.unclear.is_empty() {
                w.bytes(self.unclear);
                return Ok(());
            }
            for (kind, rate) in [(MIN_RATE, self.min_rate), (MAX_RATE, self.max_rate)] {
                let Some(rate) = rate else { continue };
                w.tlv("queue property", kind, Pad::None, |w| {
                    w.zeros(if old { 4 } else { 0 });
                    w.u16(rate);
                    w.zeros(if old { 6 } else { 2 });
                    Ok(())
                })?;
            }
            Ok(())
        })
    }
}

/// From 1.4 on: an entry of the multipart.
impl<'a> Entry<'a> for QueueDesc<'a> {
    const NAME: &'static str = "queue";

    fn read(reader: &mut Reader<'a>, _version: Version) -> Result<Self, DecodeError> {
        let (port, queue) = (reader.port()?, reader.u32()?);
        Self::read_body(reader, port, queue, false)
    }

    fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        let start = w.position();
        w.u32(self.port.0);
        w.u32(self.queue);
        self.write_body(w, start, false)
    }
}

/// The queues of a port, as 1.3 tells them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueConfig<'a> {
    /// The port that was asked about.
    pub port: OfPort,
    /// Its queues.
    pub queues: Vec<QueueDesc<'a>>,
}

impl<'a> QueueConfig<'a> {
    pub(crate) fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let port = r.port()?;
        r.skip(4)?;
        let mut queues = Vec::new();
        while !r.is_empty() {
            let queue = r.u32()?;
            let port = r.port()?;
            queues.push(QueueDesc::read_body(r, port, queue, true)?);
        }
        Ok(Self { port, queues })
    }

    pub(crate) fn read_request(r: &mut Reader<'_>) -> Result<OfPort, DecodeError> {
        let port = r.port()?;
        r.skip(4)?;
        Ok(port)
    }

    /// Appends the question for the queues of a port, [`OfPort::ANY`] for all (1.3 only).
    pub fn encode_request(
        port: OfPort,
        version: Version,
        xid: u32,
        buf: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        only_13(version)?;
        write_message(buf, version, QUEUE_GET_CONFIG_REQUEST, xid, |w| {
            w.u32(port.0);
            w.zeros(4);
            Ok(())
        })
    }

    /// Appends the reply, as a switch does (1.3 only).
    pub fn encode(&self, version: Version, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        only_13(version)?;
        write_message(buf, version, QUEUE_GET_CONFIG_REPLY, xid, |w| {
            w.u32(self.port.0);
            w.zeros(4);
            self.queues.iter().try_for_each(|queue| {
                let start = w.position();
                w.u32(queue.queue);
                w.u32(queue.port.0);
                queue.write_body(w, start, true)
            })
        })
    }
}

fn only_13(version: Version) -> Result<(), EncodeError> {
    if version == Version::V13 {
        Ok(())
    } else {
        Err(EncodeError::Version { what: "queue configuration", version })
    }
}

/// What a queue has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueStats {
    /// Its port.
    pub port: OfPort,
    /// Its number.
    pub queue: u32,
    /// Bytes sent, if counted.
    pub bytes: Option<u64>,
    /// Packets sent, if counted.
    pub packets: Option<u64>,
    /// Packets dropped, if counted.
    pub errors: Option<u64>,
    /// How long it has been there, if the switch knows.
    pub duration: Option<Duration>,
}

impl QueueStats {
    fn read_fields(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (port, queue) = (r.port()?, r.u32()?);
        let (bytes, packets, errors) = (read_counter(r)?, read_counter(r)?, read_counter(r)?);
        let (seconds, nanos) = (r.u32()?, r.u32()?);
        let known = seconds != u32::MAX;
        let time =
            Duration::from_secs(u64::from(seconds)).saturating_add(Duration::from_nanos(u64::from(nanos)));
        Ok(Self { port, queue, bytes, packets, errors, duration: known.then_some(time) })
    }

    fn write_fields(&self, w: &mut Writer<'_>) {
        w.u32(self.port.0);
        w.u32(self.queue);
        for count in [self.bytes, self.packets, self.errors] {
            write_counter(w, count);
        }
        match self.duration {
            // All ones in the seconds would say that the time is not known.
            Some(time) => {
                let longest =
                    Duration::from_secs(u64::from(u32::MAX)).saturating_sub(Duration::from_nanos(1));
                crate::flow::write_duration(w, time.min(longest));
            }
            None => w.u64(u64::MAX),
        }
    }
}

impl<'a> Entry<'a> for QueueStats {
    const NAME: &'static str = "queue stats";

    fn read(reader: &mut Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        if version == Version::V13 {
            return Self::read_fields(reader);
        }
        let mut r = measured(reader, Self::NAME)?;
        r.skip(6)?;
        Self::read_fields(&mut r)
    }

    fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        if w.version() == Version::V13 {
            self.write_fields(w);
            return Ok(());
        }
        let start = w.position();
        w.sized(Self::NAME, start, Pad::None, |w| {
            w.zeros(6);
            self.write_fields(w);
            Ok(())
        })
    }
}

/// All queues, in requests.
pub const ALL_QUEUES: u32 = 0xffff_ffff;

const MIN_RATE: u16 = 1;
const MAX_RATE: u16 = 2;
