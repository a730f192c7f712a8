//! The name of a rule set: what it was compiled from, in 32 bytes.

use super::CompileInputs;
use crate::ruleset::Settings;

/// BLAKE3 over the built-in rules, the contents of rule, decoder and list files in load order (of names only those of
/// lists, since rules use them), and the settings that change
/// what rules answer. Equal digests mean equal answers of one version of Tripline.
pub(crate) fn digest(inputs: &CompileInputs, settings: &Settings, set_aside: bool) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("tripline rule set digest v1");
    let mut part = |bytes: &[u8]| {
        // Lengths first, so that no two lists of parts read the same.
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(&super::base_rules().text);
    let CompileInputs { rules, decoders, lists } = inputs;
    part(&(rules.len() as u64).to_le_bytes());
    rules.iter().for_each(|file| part(&file.text));
    // Rule sets without them keep the digest they had before there were any.
    if !decoders.is_empty() || !lists.is_empty() {
        part(&(decoders.len() as u64).to_le_bytes());
        decoders.iter().for_each(|file| part(&file.text));
        for (name, file) in lists {
            part(super::lists::name_of(name).as_bytes());
            part(&file.text);
        }
    }
    // Without `..`: a new setting must say whether it belongs here.
    let Settings {
        application_id: _,
        log_alert_level,
        email_alert_level,
        alert_text_bytes_max,
        clock_skew_seconds_max,
        late_after_seconds,
        partitions: _,
        time_zone,
    } = settings;
    part(&log_alert_level.to_le_bytes());
    part(&email_alert_level.to_le_bytes());
    part(&(*alert_text_bytes_max as u64).to_le_bytes());
    part(&clock_skew_seconds_max.to_le_bytes());
    part(&late_after_seconds.to_le_bytes());
    part(time_zone.as_deref().unwrap_or_default().as_bytes());
    part(&[u8::from(set_aside)]);
    *hasher.finalize().as_bytes()
}
