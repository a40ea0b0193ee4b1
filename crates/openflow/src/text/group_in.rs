//! Reading groups from text, as `ovs-ofctl add-group` takes them.
//!
//! What stands before the first `bucket` is about the group; each `bucket` goes on to the next. In a bucket whatever is no word
//! of buckets is an action.

use bytes::BytesMut;

use crate::action::Actions;
use crate::error::ParseError;
use crate::field::Field;
use crate::message::group::{
    ALL_GROUPS, BUCKET_ALL, BUCKET_FIRST, BUCKET_LAST, Bucket, Group, GroupCommand, GroupMod, GroupType,
    MAX_BUCKET, METHODS, Selection,
};
use crate::oxm::write_field;
use crate::text::action_in;
use crate::text::lexer::{Pair, Pairs};
use crate::text::ports::PortNames;
use crate::text::value_in::Source;
use crate::types::Version;
use crate::writer::Writer;

impl GroupMod {
    /// Reads what `ovs-ofctl -O version add-group` (or the word for another command) takes.
    pub fn parse(text: &str, command: GroupCommand, version: Version) -> Result<Self, ParseError> {
        Self::read_text(Source::new(text), command, version)
    }

    /// The same where ports have names.
    pub fn parse_named(
        text: &str,
        command: GroupCommand,
        version: Version,
        ports: &PortNames,
    ) -> Result<Self, ParseError> {
        Self::read_text(Source::named(text, ports), command, version)
    }

    fn read_text(source: Source<'_>, command: GroupCommand, version: Version) -> Result<Self, ParseError> {
        let mut reader = GroupText {
            source,
            version,
            change: Self {
                command,
                command_bucket: BUCKET_ALL,
                group: Group { id: 0, kind: GroupType::All, buckets: Vec::new(), selection: None },
            },
            method: None,
            parameter: None,
            fields: Vec::new(),
            unnumbered: Vec::new(),
            has_id: false,
        };
        let mut in_bucket = false;
        for pair in Pairs::new(source.text()) {
            if pair.key == "bucket" {
                reader.begin_bucket();
                in_bucket = true;
                let first = pair.value.or(pair.inner).unwrap_or_default();
                Pairs::new(first).try_for_each(|pair| reader.bucket(&pair))?;
            } else if in_bucket {
                reader.bucket(&pair)?;
            } else {
                reader.head(&pair)?;
            }
        }
        reader.finish()
    }
}

/// A group while it is read.
struct GroupText<'t> {
    source: Source<'t>,
    version: Version,
    change: GroupMod,
    method: Option<&'t str>,
    parameter: Option<u64>,
    fields: Vec<(Field, u128)>,
    /// Whether each bucket waits for a number.
    unnumbered: Vec<bool>,
    has_id: bool,
}

impl<'t> GroupText<'t> {
    fn head(&mut self, pair: &Pair<'t>) -> Result<(), ParseError> {
        let value = self.source.required(pair.argument(), pair.text, pair.key);
        match pair.key {
            "group_id" => {
                let text = value?;
                let all = text == "all" && self.change.command == GroupCommand::Delete;
                self.change.group.id = if all { ALL_GROUPS } else { self.source.number(text, "group_id")? };
                self.has_id = true;
            }
            "type" => {
                self.change.group.kind = match value? {
                    "all" => GroupType::All,
                    "select" => GroupType::Select,
                    "indirect" => GroupType::Indirect,
                    "ff" | "fast_failover" => GroupType::FastFailover,
                    other => return Err(self.source.error(other, "type is all, select, indirect or ff")),
                };
            }
            "command_bucket_id" => {
                self.change.command_bucket = match value? {
                    "first" => BUCKET_FIRST,
                    "last" => BUCKET_LAST,
                    "all" => BUCKET_ALL,
                    text => self.bucket_id(text)?,
                };
            }
            "selection_method" => {
                let method = value?;
                if !METHODS.contains(&method) {
                    return Err(self.source.error(method, "selection_method is hash or dp_hash"));
                }
                self.method = Some(method);
            }
            "selection_method_param" => self.parameter = Some(self.source.number(value?, pair.key)?),
            "fields" => Pairs::new(value?).try_for_each(|field| self.field(&field))?,
            _ => return Err(self.source.error(pair.text, format!("unknown word {} of a group", pair.key))),
        }
        Ok(())
    }

    /// A field that is hashed, with the mask that `=` gives.
    fn field(&mut self, pair: &Pair<'t>) -> Result<(), ParseError> {
        let field = self.source.field(pair.key)?;
        let mask = match pair.argument() {
            Some(text) => self.source.value(field, text)?.0,
            None => field.exact_mask(),
        };
        self.fields.push((field, mask));
        Ok(())
    }

    fn bucket_id(&self, text: &str) -> Result<u32, ParseError> {
        let id = self.source.number(text, "bucket_id")?;
        if id > MAX_BUCKET { Err(self.source.error(text, "no number of a bucket")) } else { Ok(id) }
    }

    fn begin_bucket(&mut self) {
        let weight = u16::from(self.change.group.kind == GroupType::Select);
        self.change.group.buckets.push(Bucket { weight, ..Bucket::default() });
        self.unnumbered.push(true);
    }

    fn bucket(&mut self, pair: &Pair<'t>) -> Result<(), ParseError> {
        let source = self.source;
        let value = source.required(pair.argument(), pair.text, pair.key);
        let id = if pair.key == "bucket_id" { Some(self.bucket_id(value.clone()?)?) } else { None };
        let Some(bucket) = self.change.group.buckets.last_mut() else { return Ok(()) };
        match pair.key {
            "weight" => bucket.weight = source.number(value?, "weight")?,
            "watch_port" => bucket.watch_port = source.port(value?)?,
            "watch_group" => bucket.watch_group = source.number(value?, "watch_group")?,
            "bucket_id" => {
                bucket.id = id.unwrap_or_default();
                if let Some(waits) = self.unnumbered.last_mut() {
                    *waits = false;
                }
            }
            key => {
                let text = if matches!(key, "action" | "actions") { value? } else { pair.text };
                let more = action_in::actions(source, text, self.version)?;
                bucket.actions = Actions::joined(&bucket.actions, &more);
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<GroupMod, ParseError> {
        let whole = self.source.text();
        let source = self.source;
        let error = |reason: &str| source.error(whole, reason);
        if !self.has_id {
            if self.change.command != GroupCommand::Delete {
                return Err(error("group_id is missing"));
            }
            self.change.group.id = ALL_GROUPS;
        }
        let group = &self.change.group;
        let group_kind = group.kind;
        if (self.parameter.is_some() || !self.fields.is_empty()) && self.method.is_none() {
            return Err(error("selection_method is missing"));
        }
        if self.method.is_some() && group_kind != GroupType::Select {
            return Err(error("only select has a selection_method"));
        }
        if group_kind == GroupType::FastFailover && group.buckets.iter().any(|bucket| !bucket.is_watched()) {
            return Err(error("each bucket of ff watches a port or a group"));
        }
        let makes = !self.change.command.is_about_buckets() && self.change.command != GroupCommand::Delete;
        if makes && group_kind == GroupType::Indirect && group.buckets.len() != 1 {
            return Err(error("indirect has one bucket"));
        }
        self.number_buckets();
        if let Some(method) = self.method {
            // In Open vSwitch's order, whatever the text's.
            self.fields.sort_unstable();
            let mut fields = BytesMut::new();
            let mut w = Writer::new(&mut fields, self.version);
            for (field, mask) in &self.fields {
                write_field(&mut w, *field, *mask, None).map_err(|e| error(&e.to_string()))?;
            }
            let (method, parameter) = (method.to_owned(), self.parameter.unwrap_or_default());
            self.change.group.selection = Some(Selection { method, parameter, fields: fields.to_vec() });
        }
        Ok(self.change)
    }

    /// Gives the lowest free numbers to buckets that have none, as `ovs-ofctl` does.
    fn number_buckets(&mut self) {
        let buckets = &mut self.change.group.buckets;
        let mut used: Vec<u32> =
            buckets.iter().zip(&self.unnumbered).filter(|(_, waits)| !**waits).map(|(b, _)| b.id).collect();
        used.sort_unstable();
        let mut next = 0_u32;
        for (bucket, _) in buckets.iter_mut().zip(&self.unnumbered).filter(|(_, waits)| **waits) {
            while used.binary_search(&next).is_ok() {
                next = next.saturating_add(1);
            }
            bucket.id = next;
            next = next.saturating_add(1);
        }
    }
}
