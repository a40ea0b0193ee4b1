//! The OpenFlow messages of a captured control channel.
//!
//! Reads classic pcap files of either byte order over Ethernet (with VLAN tags), raw IP or Linux' cooked form, and puts
//! each direction of each TCP connection together by sequence numbers. Bounded: streams and what waits for a gap to
//! close are few; a stream that is no OpenFlow or lost bytes for good is forgotten.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};

use bytes::BytesMut;

use crate::failure::Failure;

/// Streams that are followed at once.
const MAX_STREAMS: usize = 1024;
/// Bytes of a stream that wait for those before them.
const MAX_WAITING: usize = 1 << 20;
/// The longest packet that is believed.
const MAX_PACKET: u32 = 1 << 18;

/// Calls `each` with the messages in the order in which their last bytes came.
pub(super) fn each_message(
    mut input: impl Read,
    each: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut head = [0; 24];
    input.read_exact(&mut head).map_err(Failure::Input)?;
    let [a, b, c, d, ..] = head;
    let big = match [a, b, c, d] {
        [0xa1, 0xb2, 0xc3, 0xd4] | [0xa1, 0xb2, 0x3c, 0x4d] => true,
        [0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1] => false,
        _ => return Err(Failure::Input(io::Error::new(io::ErrorKind::InvalidData, "not a pcap file"))),
    };
    let link = word(&head, 20, big).unwrap_or_default() & 0xffff;
    let mut streams = Streams::default();
    let mut packet = Vec::new();
    let mut record = [0; 16];
    while input.read_exact(&mut record).is_ok() {
        let Some(len) = word(&record, 8, big).filter(|len| *len <= MAX_PACKET) else { break };
        packet.clear();
        let read = input.by_ref().take(u64::from(len)).read_to_end(&mut packet).map_err(Failure::Input)?;
        if let Some(segment) = Segment::parse(link, &packet) {
            streams.take(&segment, each)?;
        }
        // A file that is still being written ends anywhere.
        if u32::try_from(read) != Ok(len) {
            break;
        }
    }
    Ok(())
}

fn word(bytes: &[u8], at: usize, big: bool) -> Option<u32> {
    let word = *bytes.get(at..)?.first_chunk::<4>()?;
    Some(if big { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) })
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk::<2>()?))
}

/// Addresses and ports of one direction.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    addresses: Vec<u8>,
    ports: [u8; 4],
}

/// One TCP segment.
struct Segment<'a> {
    key: Key,
    sequence: u32,
    is_first: bool,
    is_last: bool,
    data: &'a [u8],
}

impl<'a> Segment<'a> {
    fn parse(link: u32, packet: &'a [u8]) -> Option<Self> {
        let ip = match link {
            LINK_ETHERNET => {
                let mut at = 12;
                while matches!(half(packet, at)?, 0x8100 | 0x88a8) {
                    at = at.checked_add(4)?;
                }
                packet.get(at.checked_add(2)?..)?
            }
            LINK_COOKED => packet.get(16..)?,
            LINK_RAW | LINK_RAW_BSD => packet,
            _ => return None,
        };
        let (addresses, tcp) = match ip.first()? >> 4 {
            4 => {
                let head = usize::from(ip.first()? & 15) * 4;
                let total = usize::from(half(ip, 2)?);
                if *ip.get(9)? != TCP || half(ip, 6)? & 0x3fff != 0 {
                    return None;
                }
                (ip.get(12..20)?, ip.get(head..total.min(ip.len()))?)
            }
            6 => {
                let total = usize::from(half(ip, 4)?).checked_add(40)?;
                if *ip.get(6)? != TCP {
                    return None;
                }
                (ip.get(8..40)?, ip.get(40..total.min(ip.len()))?)
            }
            _ => return None,
        };
        let flags = *tcp.get(13)?;
        let head = usize::from(tcp.get(12)? >> 4) * 4;
        Some(Self {
            key: Key { addresses: addresses.to_vec(), ports: *tcp.first_chunk::<4>()? },
            sequence: word(tcp, 4, true)?,
            is_first: flags & 2 != 0,
            is_last: flags & 5 != 0,
            data: tcp.get(head..)?,
        })
    }
}

/// One direction of a connection.
#[derive(Default)]
struct Stream {
    /// The sequence number of the next byte.
    next: u32,
    received: BytesMut,
    /// What came too early, by its distance from `origin`.
    waiting: BTreeMap<u64, Vec<u8>>,
    /// Bytes taken since the beginning: turns sequence numbers, which wrap, into numbers that do not.
    taken: u64,
    is_lost: bool,
}

#[derive(Default)]
struct Streams {
    by_key: HashMap<Key, Stream>,
}

impl Streams {
    fn take(
        &mut self,
        segment: &Segment<'_>,
        each: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if !self.by_key.contains_key(&segment.key) {
            if segment.data.is_empty() && !segment.is_first || self.by_key.len() >= MAX_STREAMS {
                return Ok(());
            }
            let next = segment.sequence.wrapping_add(u32::from(segment.is_first));
            self.by_key.insert(segment.key.clone(), Stream { next, ..Stream::default() });
        }
        let Some(stream) = self.by_key.get_mut(&segment.key) else { return Ok(()) };
        if segment.is_first {
            // The same addresses and ports again: another connection.
            *stream = Stream { next: segment.sequence.wrapping_add(1), ..Stream::default() };
        }
        stream.add(segment);
        while let Some(frame) = stream.frame() {
            each(&frame)?;
        }
        if segment.is_last {
            self.by_key.remove(&segment.key);
        }
        Ok(())
    }
}

impl Stream {
    fn add(&mut self, segment: &Segment<'_>) {
        if self.is_lost || segment.data.is_empty() {
            return;
        }
        let sequence = segment.sequence.wrapping_add(u32::from(segment.is_first));
        let ahead = sequence.wrapping_sub(self.next);
        if ahead > u32::MAX / 2 {
            // Sent again; what is new in it follows what is known.
            let known = usize::try_from(self.next.wrapping_sub(sequence)).unwrap_or(usize::MAX);
            self.append(segment.data.get(known..).unwrap_or_default());
        } else if ahead == 0 {
            self.append(segment.data);
        } else {
            self.waiting.insert(self.taken.saturating_add(u64::from(ahead)), segment.data.to_vec());
            let waiting: usize = self.waiting.values().map(Vec::len).sum();
            self.is_lost = waiting > MAX_WAITING;
        }
        self.close_gaps();
        if self.is_lost {
            *self = Self { is_lost: true, ..Self::default() };
        }
    }

    fn append(&mut self, data: &[u8]) {
        self.received.extend_from_slice(data);
        self.taken = self.taken.saturating_add(u64::try_from(data.len()).unwrap_or_default());
        self.next = self.next.wrapping_add(u32::try_from(data.len()).unwrap_or_default());
    }

    fn close_gaps(&mut self) {
        while let Some(entry) = self.waiting.first_entry().filter(|entry| *entry.key() <= self.taken) {
            let (at, data) = entry.remove_entry();
            let known = usize::try_from(self.taken.saturating_sub(at)).unwrap_or(usize::MAX);
            self.append(data.get(known..).unwrap_or_default());
        }
    }

    /// The next whole message; a stream that has none where one should begin is no OpenFlow.
    fn frame(&mut self) -> Option<bytes::Bytes> {
        let is_openflow = self.received.first().is_none_or(|version| (1..=6).contains(version));
        match openflow::next_frame(&mut self.received) {
            Ok(frame) if is_openflow => frame,
            _ => {
                *self = Self { is_lost: true, ..Self::default() };
                None
            }
        }
    }
}

const LINK_ETHERNET: u32 = 1;
const LINK_RAW_BSD: u32 = 12;
const LINK_RAW: u32 = 101;
const LINK_COOKED: u32 = 113;
const TCP: u8 = 6;
