//! What was seen once and for ever: first-time keys (`if_fts`), and the fields that `ignore` elements stored.

use std::borrow::Cow;

use tripline_schemas::Key;
use tripline_schemas::state::{Scope, Seen, SeenKey, SeenKind, TextDigest};

use super::Evaluation;
use crate::composite::{Field, StoredFields};
use crate::decision::StateError;
use crate::decoder::KnownField;
use crate::line::Line;
use crate::ruleset::Rule;

/// The longest description that is kept with what was seen, in bytes.
const SHOWN_BYTES_MAX: usize = 1024;

impl Evaluation<'_> {
    /// Whether the decoder's first-time key of the line is seen for the first time. From now on it is not, whatever
    /// becomes of the rule.
    pub(super) fn is_first_time(&mut self, rule: &Rule, line: &Line<'_>) -> Result<bool, StateError> {
        let Some(first_seen) = line.first_seen else { return Ok(false) };
        let mut values = vec![("decoder", line.decoder.unwrap_or_default().as_bytes())];
        let fields = first_seen.fields.iter();
        values.extend(fields.map(|field| (field.name(), line.field(*field).unwrap_or_default())));
        let at = self.seen_key(SeenKind::FirstTime, first_seen.location, &values);
        if self.records.has_seen(&at)? {
            return Ok(false);
        }
        self.see(at, rule, &values);
        Ok(true)
    }

    /// Whether the fields of the line that the rule's `check_if_ignored` names were stored.
    pub(super) fn is_stored(&self, rule: &Rule, line: &Line<'_>) -> Result<bool, StateError> {
        let stored = rule.memory.held_back_by.as_ref().and_then(|fields| Some((fields, values(fields, line)?)));
        let Some((fields, values)) = stored else { return Ok(false) };
        self.records.has_seen(&self.seen_key(SeenKind::Ignored, fields.of_one_key, &values))
    }

    /// The rule fires: the fields of the line that its `ignore` element names are stored.
    pub(super) fn store(&mut self, rule: &Rule, line: &Line<'_>) -> Result<(), StateError> {
        let stores = rule.memory.stores.as_ref().and_then(|fields| Some((fields, values(fields, line)?)));
        let Some((fields, values)) = stores else { return Ok(()) };
        let at = self.seen_key(SeenKind::Ignored, fields.of_one_key, &values);
        if !self.records.has_seen(&at)? {
            self.see(at, rule, &values);
        }
        Ok(())
    }

    fn seen_key(&self, kind: SeenKind, of_one_key: bool, values: &[(&str, &[u8])]) -> SeenKey {
        let mut text = Vec::new();
        for (name, value) in values {
            // Lengths first, so that no two lists of values read the same.
            for part in [name.as_bytes(), value] {
                text.extend_from_slice(&(part.len() as u64).to_le_bytes());
                text.extend_from_slice(part);
            }
        }
        let scope = if of_one_key { Scope::Key(self.facts.key.clone()) } else { Scope::Partition };
        SeenKey { kind, scope, digest: TextDigest::of(&text) }
    }

    fn see(&mut self, at: SeenKey, rule: &Rule, values: &[(&str, &[u8])]) {
        let shown = values.iter().map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value)));
        let mut what = shown.collect::<Vec<_>>().join(" ");
        what.truncate(what.floor_char_boundary(SHOWN_BYTES_MAX));
        self.records.see(at, Seen { what, time: self.facts.timing.time, rule: rule.id });
    }
}

/// The values of the fields that an element names. `None` when the line has none of them: lines that have nothing in
/// common must not hold each other back.
fn values<'l>(fields: &StoredFields, line: &'l Line<'_>) -> Option<Vec<(&'static str, &'l [u8])>> {
    let value = |name| match name {
        "user" => line.field(KnownField::DstUser).or(line.field(KnownField::SrcUser)),
        "srcip" => line.field(KnownField::SrcIp),
        "dstip" => line.field(KnownField::DstIp),
        "id" => line.field(KnownField::Id),
        "data" => line.field(KnownField::ExtraData),
        "name" => line.decoder.map(str::as_bytes),
        _ => None,
    };
    let values: Vec<_> = fields.names.iter().map(|name| (*name, value(name))).collect();
    let has_some = fields.of_one_key || values.iter().any(|(_, value)| value.is_some());
    has_some.then(|| values.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect())
}

/// A field as composite rules compare it; `None` when the line has none.
pub(super) fn field_of<'l>(field: Field, line: &'l Line<'_>, key: &'l Key) -> Option<Cow<'l, str>> {
    match field {
        Field::Agent => Some(Cow::Borrowed(key.agent())),
        Field::Location => line.host.map(String::from_utf8_lossy),
        _ => line.field(field.decoded()?).map(String::from_utf8_lossy),
    }
}
