//! Every file of a rule set, so that any alert's rules can be looked up later.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::envelope::{self, Attributes};
use crate::{DecodeError, Record};

/// `tripline.ruleset.v1`, keyed by digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RuleSetRecord {
    /// 64 hex digits over rules, lists, decoders and the settings that matter.
    pub digest: String,
    /// The files, in load order.
    pub files: Vec<RuleFile>,
    /// Settings that change what the rules answer, as text.
    pub settings: std::collections::BTreeMap<String, String>,
}

/// One file of a rule set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RuleFile {
    /// What it is.
    pub kind: RuleFileKind,
    /// Its name, as it was loaded.
    pub name: String,
    /// Its text; base64 when it is not UTF-8.
    pub text: String,
    /// `text` is base64.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub base64: bool,
}

/// What a file of a rule set is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleFileKind {
    /// Rules.
    Rules,
    /// A lookup list.
    List,
    /// Decoders.
    Decoders,
}

impl RuleSetRecord {
    /// The record to append to the rule set topic, keyed by the digest.
    pub fn to_record(&self) -> Record {
        let headers = Attributes {
            kind: envelope::RULESET,
            id: &self.digest,
            source: "/tripline/rulesets".to_owned(),
            subject: None,
            time: None,
            content_type: "application/json",
        };
        Record {
            key: Some(self.digest.as_bytes().to_vec()),
            value: Some(envelope::to_json(self)),
            headers: headers.to_headers(),
        }
    }

    /// Reads a record of the rule set topic.
    pub fn from_record(record: &Record) -> Result<RuleSetRecord, DecodeError> {
        envelope::expect_kind(record, envelope::RULESET)?;
        let ruleset: RuleSetRecord = envelope::json(envelope::value(record)?)?;
        envelope::expect_key(record, ruleset.digest.as_bytes())?;
        Ok(ruleset)
    }
}

impl RuleFile {
    /// A file of these bytes.
    pub fn new(kind: RuleFileKind, name: impl Into<String>, text: &[u8]) -> RuleFile {
        match std::str::from_utf8(text) {
            Ok(text) => RuleFile { kind, name: name.into(), text: text.to_owned(), base64: false },
            Err(_) => RuleFile { kind, name: name.into(), text: BASE64.encode(text), base64: true },
        }
    }

    /// The file's bytes; `None` when `text` says to be base64 and is not.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        if self.base64 { BASE64.decode(&self.text).ok() } else { Some(self.text.clone().into_bytes()) }
    }
}
