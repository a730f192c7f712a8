//! The lists of fields in decoders: `order` and `fts`.

use super::super::suggest;
use super::super::text::Text;
use super::{Part, Reader};
use crate::decoder::{Field, FirstSeen, KnownField};
use crate::finding::{Finding, codes, shown};
use crate::source::Span;

/// The most fields that an `order` may name, as in OSSEC.
const ORDER_FIELDS_MAX: usize = 256;

impl Reader<'_> {
    pub(super) fn order(&mut self, part: &Part) -> Vec<Field> {
        let fields: Vec<Field> = pieces(&part.text).map(|(name, _)| Field::of_name(name)).collect();
        if fields.len() > ORDER_FIELDS_MAX {
            let message = format!("`order` names {} fields, more than {ORDER_FIELDS_MAX}", fields.len());
            self.findings.push(Finding::new(&codes::BAD_DECODER, message).at(part.tag, ""));
        }
        for (name, span) in pieces(&part.text) {
            if name.is_empty() {
                self.findings.push(
                    Finding::new(&codes::VALUE_IGNORED, "`order` has a field without a name")
                        .at(span, "what its group captures is lost")
                        .help("remove the comma".to_owned()),
                );
            }
        }
        fields
    }

    /// Fields are searched as parts of the names, as in OSSEC.
    pub(super) fn first_seen(&mut self, part: &Part) -> FirstSeen {
        const WORDS: [(&str, KnownField); 9] = [
            // Before `user`, which is a part of it: OSSEC finds that first, and so never looks at `srcuser`.
            ("srcuser", KnownField::SrcUser),
            ("user", KnownField::DstUser),
            ("srcip", KnownField::SrcIp),
            ("dstip", KnownField::DstIp),
            ("id", KnownField::Id),
            ("extra_data", KnownField::ExtraData),
            ("data", KnownField::ExtraData),
            ("system_name", KnownField::SystemName),
            ("filename", KnownField::Filename),
        ];
        let mut fts = FirstSeen::default();
        for (name, span) in pieces(&part.text) {
            if name.contains("location") {
                fts.location = true;
            } else if let Some((_, field)) = WORDS.iter().find(|(word, _)| name.contains(word)) {
                if !fts.fields.contains(field) {
                    fts.fields.push(*field);
                }
            } else if !name.contains("name") {
                let allowed = WORDS.iter().map(|(word, _)| *word).chain(["location", "name"]);
                let text = part.text.value.as_str();
                let near = suggest(name, allowed).map(|near| format!("did you mean `{near}`?"));
                self.findings.push(
                    Finding::new(&codes::BAD_VALUE, format!("`fts` can't have `{}`", shown(name)))
                        .at(span, if text.is_empty() { "expected a field" } else { "no field of `fts`" })
                        .help(
                            near.or(Some(
                                "fields: user, srcuser, srcip, dstip, id, location, extra_data, system_name, name"
                                    .to_owned(),
                            )),
                        ),
                );
            }
        }
        fts
    }
}

/// The parts of a list with commas, without the spaces around them, and where each stands.
fn pieces(text: &Text) -> impl Iterator<Item = (&str, Span)> {
    text.value.split(',').map(move |piece| {
        let piece = piece.trim();
        let start = piece.as_ptr() as usize - text.value.as_ptr() as usize;
        (piece, text.span_of(start..start + piece.len()))
    })
}
