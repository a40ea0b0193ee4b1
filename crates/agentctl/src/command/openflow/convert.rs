//! What one line becomes.

use bytes::BytesMut;
use openflow::message::flow_mod::{FlowMod, FlowModCommand};
use openflow::message::group::{self, GroupMod};
use openflow::message::meter::{self, MeterMod};
use openflow::{
    Actions, DecodeError, EncodeError, FlowText, FrameText, Instructions, Match, Message, ParseError,
    Version, frame_error,
};

use crate::cli::{FlowCommand, GroupCommand, MeterCommand, OfVersion, OpenFlowVerb};

/// The same thing as text and as bytes.
pub(super) struct Converted {
    /// As `ovs-ofctl` prints it, without a newline at its end.
    pub(super) text: String,
    /// In hexadecimal, in normal form; `None` if there is nothing sound to write.
    pub(super) reencoded: Option<String>,
    /// Open vSwitch's name of what is wrong with bytes, or what is wrong with a text.
    pub(super) error: Option<String>,
    /// The input was text, so that the bytes are the answer.
    from_text: bool,
}

impl Converted {
    /// What was asked for.
    pub(super) fn shown(&self) -> &str {
        match &self.reencoded {
            Some(bytes) if self.from_text => bytes,
            _ => &self.text,
        }
    }

    fn wrong(text: &str, error: String) -> Self {
        Self { text: text.to_owned(), reencoded: None, error: Some(error), from_text: true }
    }

    fn new(text: String, bytes: &[u8], from_text: bool) -> Self {
        Self { text, reencoded: Some(hex(bytes)), error: None, from_text }
    }
}

/// Why a line has no answer.
enum Wrong {
    Bytes(DecodeError),
    Text(ParseError),
    Encoding(EncodeError),
}

impl Wrong {
    fn name(&self) -> String {
        match self {
            Self::Bytes(error) => error.ofp_error().to_string(),
            Self::Text(error) => error.to_string(),
            Self::Encoding(error) => error.to_string(),
        }
    }
}

impl From<DecodeError> for Wrong {
    fn from(error: DecodeError) -> Self {
        Self::Bytes(error)
    }
}

impl From<ParseError> for Wrong {
    fn from(error: ParseError) -> Self {
        Self::Text(error)
    }
}

impl From<EncodeError> for Wrong {
    fn from(error: EncodeError) -> Self {
        Self::Encoding(error)
    }
}

/// Converts lines of one kind.
pub(super) struct Converter {
    version: Version,
    kind: Kind,
}

enum Kind {
    Message,
    Actions,
    Instructions,
    Match,
    Flow(FlowModCommand),
    Group(group::GroupCommand),
    Meter(meter::MeterCommand),
}

impl Converter {
    /// The converter of a verb, and the lines that stand in its arguments.
    pub(super) fn new(version: OfVersion, verb: OpenFlowVerb) -> (Self, Vec<String>) {
        let version = match version {
            OfVersion::V13 => Version::V13,
            OfVersion::V14 => Version::V14,
            OfVersion::V15 => Version::V15,
        };
        let (kind, lines) = match verb {
            OpenFlowVerb::Print { hex, .. } => (Kind::Message, hex),
            OpenFlowVerb::Actions { input } => (Kind::Actions, input),
            OpenFlowVerb::Instructions { input } => (Kind::Instructions, input),
            OpenFlowVerb::Match { input } => (Kind::Match, input),
            OpenFlowVerb::FlowMod { text, command } => (Kind::Flow(flow_command(command)), text),
            OpenFlowVerb::GroupMod { text, command } => (Kind::Group(group_command(command)), text),
            OpenFlowVerb::MeterMod { text, command } => (Kind::Meter(meter_command(command)), text),
        };
        (Self { version, kind }, lines)
    }

    pub(super) fn convert(&self, line: &str) -> Converted {
        self.try_convert(line).unwrap_or_else(|wrong| Converted::wrong(line, wrong.name()))
    }

    fn try_convert(&self, line: &str) -> Result<Converted, Wrong> {
        let version = self.version;
        let bytes = unhex(line);
        // Whatever is so long and has hexadecimal digits only is bytes; no text looks like that.
        let long = |least: usize| bytes.as_deref().filter(|bytes| bytes.len() >= least);
        Ok(match &self.kind {
            Kind::Message => match &bytes {
                Some(frame) => message(frame),
                None => Converted::wrong(line, "not a message in hexadecimal".to_owned()),
            },
            Kind::Actions => {
                let from_wire = long(8).map(|bytes| Actions::from_wire(bytes, version)).transpose()?;
                let is_text = from_wire.is_none();
                let actions = from_wire.map_or_else(|| Actions::parse(line, version), Ok)?;
                Converted::new(actions.as_ref().to_string(), actions.as_ref().as_bytes(), is_text)
            }
            Kind::Instructions => {
                let from_wire = long(8).map(|bytes| Instructions::from_wire(bytes, version)).transpose()?;
                let is_text = from_wire.is_none();
                let list = from_wire.map_or_else(|| Instructions::parse(line, version), Ok)?;
                Converted::new(list.to_string(), &list.to_wire(version)?, is_text)
            }
            Kind::Match => {
                let from_wire = long(4).map(Match::from_oxm).transpose()?;
                let is_text = from_wire.is_none();
                let fields = from_wire.map_or_else(|| line.parse(), Ok)?;
                Converted::new(fields.to_string(), &fields.to_oxm(version)?, is_text)
            }
            Kind::Flow(command) => {
                let change: FlowMod = FlowText::parse(line, version)?.into_mod(*command);
                written(|buf| change.encode(version, 0, buf))?
            }
            Kind::Group(command) => {
                let change = GroupMod::parse(line, *command, version)?;
                written(|buf| change.encode(version, 0, buf))?
            }
            Kind::Meter(command) => {
                let change = MeterMod::parse(line, *command)?;
                written(|buf| change.encode(version, 0, buf))?
            }
        })
    }
}

/// A message that was made of text.
fn written(encode: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>) -> Result<Converted, Wrong> {
    let mut buf = BytesMut::new();
    encode(&mut buf)?;
    Ok(Converted { from_text: true, ..message(&buf) })
}

/// A message in bytes.
pub(super) fn message(frame: &[u8]) -> Converted {
    let text = FrameText(frame).to_string().trim_end_matches('\n').to_owned();
    let reencoded = Message::decode(frame).ok().and_then(|(header, message)| {
        let mut buf = BytesMut::new();
        message.encode(&header, &mut buf).ok().map(|()| hex(&buf))
    });
    let error = frame_error(frame).map(|code| code.name().to_owned());
    Converted { text, reencoded, error, from_text: false }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Bytes in hexadecimal, with blanks between them or without.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut high = None;
    for digit in text.chars().filter(|c| !c.is_whitespace()) {
        let digit = u8::try_from(digit.to_digit(16)?).ok()?;
        match high.take() {
            None => high = Some(digit << 4),
            Some(high) => bytes.push(high | digit),
        }
    }
    if high.is_some() || bytes.is_empty() { None } else { Some(bytes) }
}

fn flow_command(command: FlowCommand) -> FlowModCommand {
    match command {
        FlowCommand::Add => FlowModCommand::Add,
        FlowCommand::Modify => FlowModCommand::Modify,
        FlowCommand::ModifyStrict => FlowModCommand::ModifyStrict,
        FlowCommand::Delete => FlowModCommand::Delete,
        FlowCommand::DeleteStrict => FlowModCommand::DeleteStrict,
    }
}

fn group_command(command: GroupCommand) -> group::GroupCommand {
    match command {
        GroupCommand::Add => group::GroupCommand::Add,
        GroupCommand::Modify => group::GroupCommand::Modify,
        GroupCommand::AddOrModify => group::GroupCommand::AddOrModify,
        GroupCommand::Delete => group::GroupCommand::Delete,
        GroupCommand::InsertBucket => group::GroupCommand::InsertBucket,
        GroupCommand::RemoveBucket => group::GroupCommand::RemoveBucket,
    }
}

fn meter_command(command: MeterCommand) -> meter::MeterCommand {
    match command {
        MeterCommand::Add => meter::MeterCommand::Add,
        MeterCommand::Modify => meter::MeterCommand::Modify,
        MeterCommand::Delete => meter::MeterCommand::Delete,
    }
}
