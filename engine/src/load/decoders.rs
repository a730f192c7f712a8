//! From decoder files to decoders.

mod fields;

use std::sync::LazyLock;

use super::budget::Budget;
use super::checks;
use super::dialect::{self, Dialect};
use super::text::{Text, Texts};
use crate::decoder::{Decoder, Decoders, Expression, Extract, Field};
use crate::decoder::{Offset, Prematch, ProgramPattern, Top};
use crate::finding::{Finding, Findings, codes, shown};
use crate::line::DECODER_OSSEC;
use crate::pattern::{OsMatch, OsRegex, PatternError, Pcre2};
use crate::ruleset::Category;
use crate::source::{SourceFile, Span};
use crate::xml::{self, Element};

/// One text of a decoder file must be shorter than this, in bytes.
const TEXT_BYTES_LIMIT: usize = 8192;

/// The elements of a `<decoder>`, and their attributes.
const ELEMENTS: &[(&str, &[&str])] = &[
    ("parent", &[]),
    ("program_name", &[]),
    ("program_name_pcre2", &[]),
    ("prematch", &["offset"]),
    ("prematch_pcre2", &["offset"]),
    ("regex", &["offset"]),
    ("pcre2", &["offset"]),
    ("order", &[]),
    ("fts", &[]),
    ("ftscomment", &[]),
    ("type", &[]),
    ("use_own_name", &[]),
    ("plugin_decoder", &[]),
    ("accumulate", &[]),
];

/// What `plugin_decoder` may name. They are programs within OSSEC.
const PLUGINS: [&str; 4] = ["PF_Decoder", "SymantecWS_Decoder", "SonicWall_Decoder", "OSSECAlert_Decoder"];

/// Decoders that are programs within OSSEC, for what its agents find by themselves: files and settings that changed,
/// traces of intruders. Tripline's lines never have them.
const INTERNAL: [&str; 8] = [
    "rootcheck",
    "syscheck_integrity_changed",
    "syscheck_integrity_changed_2nd",
    "syscheck_integrity_changed_3rd",
    "syscheck_deleted",
    "syscheck_new_entry",
    "hostinfo_modified",
    "hostinfo_new",
];

/// The `type` that belongs to no category of rules.
const HOST_INFORMATION: &str = "host-information";

/// What decoder files hold.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub decoders: Decoders,
    /// The names in `<decoder name="…">`, by place in the decoders' list.
    names: Vec<String>,
    /// There were decoder files.
    pub given: bool,
}

/// Reads decoder files. Their spans get file indexes from `first` on.
pub(super) fn load(files: &[SourceFile], first: u32, budget: &mut Budget, findings: &mut Findings) -> Loaded {
    let mut loaded = Loaded { given: !files.is_empty(), ..Loaded::default() };
    for (file, index) in files.iter().zip(first..) {
        let before = (loaded.names.len(), findings.errors());
        read(&file.text, index, &mut loaded, budget, findings);
        if before == (loaded.names.len(), findings.errors()) {
            findings.push(super::empty_file("decoders", index));
        }
    }
    if !loaded.is_named(DECODER_OSSEC) {
        read(&base_decoders().text, Span::BUILT_IN, &mut loaded, budget, findings);
    }
    loaded
}

fn base_decoders() -> &'static SourceFile {
    static BASE_DECODERS: LazyLock<SourceFile> = LazyLock::new(|| SourceFile {
        name: "built-in decoders".to_owned(),
        text: include_bytes!("../base_decoders.xml").to_vec(),
    });
    &BASE_DECODERS
}

impl Loaded {
    /// Whether a decoder of this name is defined.
    pub fn is_named(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    /// Whether OSSEC's own lines have a decoder of this name.
    pub fn is_internal(name: &str) -> bool {
        INTERNAL.contains(&name)
    }

    /// Whether lines can have a decoder of this name.
    pub fn is_reported(&self, name: &str) -> bool {
        self.decoders.list.iter().any(|decoder| decoder.name == name)
    }

    /// The name that a decoder of this name gives its lines instead.
    pub fn reported_instead(&self, name: &str) -> Option<&str> {
        let at = self.names.iter().position(|known| known == name)?;
        Some(&self.decoders.list[at].name)
    }

    /// The names of fields that have no place of their own.
    pub fn dynamic_fields(&self) -> impl Iterator<Item = &str> {
        let orders = self.decoders.list.iter().filter_map(|decoder| decoder.extract.as_ref());
        orders.flat_map(|extract| &extract.order).filter_map(|field| match field {
            Field::Dynamic(name) => Some(name.as_str()),
            Field::Known(_) => None,
        })
    }

    /// Whether some decoder finds such a field.
    pub fn has_dynamic_field(&self, name: &str) -> bool {
        self.dynamic_fields().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// All names, as often as they are given.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The decoders without a parent that have this name.
    fn tops(&mut self, name: &str) -> impl Iterator<Item = &mut Top> {
        let Decoders { with_program, without_program, .. } = &mut self.decoders;
        let names = &self.names;
        with_program.iter_mut().chain(without_program).filter(move |top| names[top.decoder] == name)
    }
}

fn read(text: &[u8], file: u32, loaded: &mut Loaded, budget: &mut Budget, findings: &mut Findings) {
    let document = xml::parse(text, file, findings);
    for span in &document.stray {
        findings.push(checks::stray(*span, text));
    }
    let texts = Texts::with_limit(text, TEXT_BYTES_LIMIT);
    let mut reader = Reader { file: text, texts, loaded, budget, findings };
    for element in &document.roots {
        reader.root(element);
    }
}

struct Reader<'a> {
    file: &'a [u8],
    texts: Texts<'a>,
    loaded: &'a mut Loaded,
    budget: &'a mut Budget,
    findings: &'a mut Findings,
}

/// All elements of one name in a decoder, joined.
struct Part {
    name: &'static str,
    /// The first one's start tag.
    tag: Span,
    text: Text,
    /// Of the first one.
    offset: Option<Text>,
}

/// The parts of one decoder.
struct Parts {
    /// The name, or the tag when there is none.
    name: Text,
    parts: Vec<Part>,
    /// There are elements of other names, and what seems to be missing may be among them.
    has_unknown: bool,
}

impl Parts {
    fn get(&self, name: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.name == name)
    }

    fn first_of(&self, names: &[&str]) -> Option<&Part> {
        names.iter().find_map(|name| self.get(name))
    }
}

impl Reader<'_> {
    fn root(&mut self, element: &Element) {
        match element.name.as_str() {
            "decoder" => self.decoder(element),
            "var" => checks::variable(element, &mut self.texts, self.findings),
            "group" => self.findings.push(
                Finding::new(&codes::UNKNOWN_ELEMENT, "rules may not stand in a decoder file")
                    .at(element.name_span, "expected `decoder` or `var`")
                    .help("name this file among the rule files".to_owned()),
            ),
            name => {
                let near = super::suggest(name, ["decoder", "var"].into_iter());
                self.findings.push(
                    Finding::new(&codes::UNKNOWN_ELEMENT, format!("`{}` may not stand here", shown(name)))
                        .at(element.name_span, "expected `decoder` or `var`")
                        .help(near.map(|near| format!("did you mean `{near}`?"))),
                );
            }
        }
    }

    fn decoder(&mut self, element: &Element) {
        let parts = self.parts(element);
        if !parts.has_unknown {
            self.whole(&parts);
        }
        let name = parts.name.value.clone();
        let parent = parts.get("parent").filter(|part| self.is_parent(part));
        let own_name = self.uses_own_name(&parts);
        let decoder = Decoder {
            name: parent.filter(|_| !own_name).map_or_else(|| name.clone(), |parent| parent.text.value.clone()),
            category: self.category(&parts),
            program_name: self.program_name(&parts),
            prematch: self.prematch(&parts),
            extract: self.extract(&parts),
            fts: parts.get("fts").map(|part| self.first_seen(part)),
        };
        self.budget.take_decoder(&name, decoder.pattern_bytes_max(), element.tag, self.findings);
        let at = self.loaded.names.len();
        match parent {
            Some(parent) => self.hang(&parts, parent, at, &decoder),
            // A parent that does not exist was reported; the decoder itself may still be one that others name.
            None => {
                let decoders = &mut self.loaded.decoders;
                let has_program = decoder.program_name.is_some();
                let list = if has_program { &mut decoders.with_program } else { &mut decoders.without_program };
                list.push(Top { decoder: at, children: Vec::new() });
            }
        }
        self.loaded.names.push(name);
        self.loaded.decoders.list.push(decoder);
    }

    /// Takes the elements of a decoder, those of one name together.
    fn parts(&mut self, element: &Element) -> Parts {
        checks::stray_texts(element, self.file, self.findings);
        checks::only_attributes(element, &["name"], &[], None, self.findings);
        let name = match checks::required(element, "name", None, self.findings) {
            Some(name) => checks::attribute(name, &self.texts, self.findings),
            None => self.texts.take(&[], element.tag, "the name", self.findings),
        };
        let mut parts: Vec<Part> = Vec::new();
        let mut has_unknown = false;
        for child in &element.children {
            if !element.closed && child.name == "decoder" {
                // What follows a decoder that is not closed.
                self.decoder(child);
                continue;
            }
            let Some((name, attributes)) = ELEMENTS.iter().find(|(name, _)| *name == child.name) else {
                self.unknown(child);
                has_unknown = true;
                continue;
            };
            checks::only_text(child, self.findings);
            checks::entities(child, self.texts.file(), None, self.findings);
            checks::only_attributes(child, attributes, &[], None, self.findings);
            let mut text = self.texts.take(&child.texts, child.tag, &format!("`{name}`"), self.findings);
            text.dropped |= checks::is_read_otherwise(child);
            let offset = child.attribute("offset");
            let offset = offset.map(|offset| checks::attribute(offset, &self.texts, self.findings));
            match parts.iter_mut().find(|part| part.name == *name) {
                None => parts.push(Part { name, tag: child.tag, text, offset }),
                Some(first) => {
                    first.text.join(&text);
                    if let Some(offset) = offset {
                        self.findings.push(
                            Finding::new(
                                &codes::VALUE_IGNORED,
                                format!("`offset` of a further `{name}` has no effect"),
                            )
                            .at(offset.span(), "ignored")
                            .related(first.tag, "the first one's counts")
                            .help("give the first one this offset".to_owned()),
                        );
                    }
                }
            }
        }
        Parts { name, parts, has_unknown }
    }

    fn unknown(&mut self, element: &Element) {
        let near = super::suggest(&element.name, ELEMENTS.iter().map(|(name, _)| *name));
        self.findings.push(
            Finding::new(&codes::UNKNOWN_ELEMENT, format!("decoders have no element `{}`", shown(&element.name)))
                .at(element.name_span, "unknown element")
                .help(near.map(|near| format!("did you mean `{near}`?"))),
        );
    }

    /// What must go together, and what must not.
    fn whole(&mut self, parts: &Parts) {
        let name = shown(&parts.name.value);
        let mut wrong = |span: Span, message: String, help: &str| {
            self.findings.push(Finding::new(&codes::BAD_DECODER, message).at(span, "").help(help.to_owned()));
        };
        let expression = parts.first_of(&["regex", "pcre2"]);
        let (order, plugin) = (parts.get("order"), parts.get("plugin_decoder"));
        if parts.first_of(&["prematch", "prematch_pcre2", "program_name", "program_name_pcre2", "parent"]).is_none() {
            let message = format!("decoder `{name}` says nowhere which lines are its own");
            wrong(parts.name.span(), message, "give it a `prematch`, a `program_name` or a `parent`");
        }
        if let (Some(plugin), Some(other)) = (plugin, expression.or(order)) {
            let message = format!("`{}` does not go with `plugin_decoder`", other.name);
            wrong(plugin.tag, message, "remove one of them");
            return;
        }
        match (expression, order) {
            (Some(expression), None) => {
                let message = format!("`{}` without `order`", expression.name);
                wrong(expression.tag, message, "name the fields that its groups fill: `<order>user, srcip</order>`");
            }
            (None, Some(order)) => {
                wrong(
                    order.tag,
                    "`order` without `regex`".to_owned(),
                    "add a `regex` or `pcre2` with a group for each name",
                );
            }
            _ => {}
        }
        if let (Some(fts), None) = (parts.get("fts"), expression) {
            wrong(fts.tag, "`fts` without `regex`".to_owned(), "add a `regex` or `pcre2` that fills its fields");
        }
        if let Some(plugin) = plugin {
            self.plugin(plugin);
        }
        if let Some(accumulate) = parts.get("accumulate") {
            self.findings.push(
                Finding::new(&codes::DECODER_PART_IGNORED, "`accumulate` has no effect")
                    .at(accumulate.tag, "fields of earlier lines are not filled in")
                    .note("each line has the fields that stand in it"),
            );
        }
    }

    fn plugin(&mut self, plugin: &Part) {
        let named = plugin.text.value.as_str();
        if PLUGINS.iter().any(|known| *known == named || known.strip_suffix("_Decoder") == Some(named)) {
            self.findings.push(
                Finding::new(&codes::DECODER_PART_IGNORED, format!("`plugin_decoder` `{named}` has no effect"))
                    .at(plugin.text.span(), "part of OSSEC's program")
                    .note("lines get this decoder's name and type, and no fields"),
            );
            return;
        }
        self.findings.push(none_of("plugin_decoder", &plugin.text, PLUGINS.into_iter()));
    }

    /// Whether a decoder can be a parent; a finding says why not.
    fn is_parent(&mut self, part: &Part) -> bool {
        let name = part.text.value.as_str();
        if self.loaded.tops(name).next().is_some() {
            return true;
        }
        let finding = if self.loaded.is_named(name) {
            Finding::new(&codes::UNKNOWN_PARENT_DECODER, format!("decoder `{}` has a parent itself", shown(name)))
                .at(part.text.span(), "a child can't be a parent")
                .help("name the parent of that one".to_owned())
        } else {
            let near = super::suggest(name, self.loaded.names()).map(|near| format!("did you mean `{near}`?"));
            Finding::new(
                &codes::UNKNOWN_PARENT_DECODER,
                format!("there is no decoder `{}` before this one", shown(name)),
            )
            .at(part.text.span(), "no decoder above has this name")
            .help(near.or(Some("a parent must stand above its children, or in an earlier file".to_owned())))
        };
        self.findings.push(finding);
        false
    }

    /// Hangs a child under its parents: into the chain of its name, or as a new one.
    fn hang(&mut self, parts: &Parts, parent: &Part, at: usize, decoder: &Decoder) {
        let names = &self.loaded.names;
        let Decoders { list, with_program, without_program } = &mut self.loaded.decoders;
        let mut head = None;
        for top in with_program.iter_mut().chain(without_program) {
            if names[top.decoder] != parent.text.value {
                continue;
            }
            let fits =
                |chain: &&mut Vec<usize>| names[chain[0]] == parts.name.value && list[chain[0]].extract.is_some();
            match top.children.iter_mut().find(fits) {
                Some(chain) if decoder.extract.is_some() => {
                    chain.push(at);
                    head = Some(chain[0]);
                }
                _ => top.children.push(vec![at]),
            }
        }
        let alone = parts.first_of(&["prematch", "prematch_pcre2", "fts"]);
        if let (Some(_), Some(part)) = (head, alone) {
            let name = shown(&parts.name.value);
            self.findings.push(
                Finding::new(&codes::BAD_DECODER, format!("a further decoder `{name}` may not have `{}`", part.name))
                    .at(part.tag, "only the first one may")
                    .note("children of one parent with one name are tried in turn, as one decoder")
                    .help("give it another name, or move this to the first one".to_owned()),
            );
        }
    }

    fn uses_own_name(&mut self, parts: &Parts) -> bool {
        let Some(part) = parts.get("use_own_name") else { return false };
        let is_on = part.text.value == "true";
        if !is_on && !["false", "no"].contains(&part.text.value.as_str()) {
            self.findings.push(
                Finding::new(
                    &codes::VALUE_IGNORED,
                    format!("`use_own_name` is not switched on by `{}`", shown(&part.text.value)),
                )
                .at(part.text.span(), "only `true` does")
                .help("write `true`, or remove it".to_owned()),
            );
        }
        is_on
    }

    fn category(&mut self, parts: &Parts) -> Category {
        let Some(part) = parts.get("type") else { return Category::Syslog };
        if part.text.value == HOST_INFORMATION {
            return Category::HostInformation;
        }
        part.text.value.parse().unwrap_or_else(|()| {
            let types = Category::NAMES.into_iter().chain([HOST_INFORMATION]);
            self.findings.push(none_of("type", &part.text, types));
            Category::Syslog
        })
    }

    /// Of two forms of one thing the plain one counts.
    fn form<'p>(&mut self, parts: &'p Parts, plain: &str, pcre2: &str) -> Option<&'p Part> {
        let (plain, pcre2) = (parts.get(plain), parts.get(pcre2));
        if let (Some(plain), Some(pcre2)) = (plain, pcre2) {
            self.findings.push(
                Finding::new(&codes::VALUE_IGNORED, format!("`{}` has no effect beside `{}`", pcre2.name, plain.name))
                    .at(pcre2.tag, "ignored")
                    .related(plain.tag, "this one counts")
                    .help("remove one of them".to_owned()),
            );
        }
        plain.or(pcre2)
    }

    fn program_name(&mut self, parts: &Parts) -> Option<ProgramPattern> {
        let part = self.form(parts, "program_name", "program_name_pcre2")?;
        if let Some(parent) = parts.get("parent") {
            self.findings.push(
                Finding::new(&codes::VALUE_IGNORED, format!("`{}` of a child has no effect", part.name))
                    .at(part.tag, "ignored")
                    .related(parent.tag, "the parent's counts")
                    .help("use a `prematch`".to_owned()),
            );
            return None;
        }
        if part.text.dropped {
            return None;
        }
        let text = &part.text.value;
        let pattern = match part.name {
            "program_name" => OsMatch::new(text).map(ProgramPattern::OsMatch),
            _ => Pcre2::new(text).map(ProgramPattern::Pcre2),
        };
        let dialect = if part.name == "program_name" { Dialect::Match } else { Dialect::Pcre2 };
        self.good(part, dialect, pattern)
    }

    fn prematch(&mut self, parts: &Parts) -> Option<Prematch> {
        let part = self.form(parts, "prematch", "prematch_pcre2")?;
        let offset = self.offset(part, parts, &["after_parent"]);
        Some(Prematch { pattern: self.expression(part)?, after_parent: offset == Offset::AfterParent })
    }

    fn extract(&mut self, parts: &Parts) -> Option<Extract> {
        let part = self.form(parts, "regex", "pcre2")?;
        let offset = self.offset(part, parts, &["after_parent", "after_prematch", "after_regex"]);
        let pattern = self.expression(part);
        let order_part = parts.get("order")?;
        let order = self.order(order_part);
        if let (Some(pattern), true) = (&pattern, self.findings.looks_for_lints()) {
            self.enough_groups(part, pattern, order_part, order.len());
        }
        Some(Extract { pattern: pattern?, offset, order })
    }

    fn offset(&mut self, part: &Part, parts: &Parts, allowed: &'static [&'static str]) -> Offset {
        let Some(offset) = &part.offset else { return Offset::Start };
        if !allowed.contains(&offset.value.as_str()) {
            self.findings.push(none_of("offset", offset, allowed.iter().copied()));
        } else if offset.value == "after_parent" && parts.get("parent").is_none() {
            self.findings.push(
                Finding::new(&codes::BAD_DECODER, "`after_parent` in a decoder without a parent")
                    .at(offset.span(), "")
                    .help("remove the offset, or add `<parent>`".to_owned()),
            );
        }
        match offset.value.as_str() {
            "after_parent" => Offset::AfterParent,
            "after_prematch" => Offset::AfterPrematch,
            "after_regex" => Offset::AfterRegex,
            _ => Offset::Start,
        }
    }

    fn expression(&mut self, part: &Part) -> Option<Expression> {
        if part.text.dropped {
            return None;
        }
        let text = &part.text.value;
        let pattern = match part.name {
            "prematch" | "regex" => OsRegex::new(text).map(Expression::OsRegex),
            _ => Pcre2::new(text).map(Expression::Pcre2),
        };
        let dialect = if matches!(pattern, Ok(Expression::OsRegex(_))) { Dialect::Regex } else { Dialect::Pcre2 };
        self.good(part, dialect, pattern)
    }

    /// Reports fields of `order` that no group is left for.
    fn enough_groups(&mut self, part: &Part, pattern: &Expression, order: &Part, fields: usize) {
        let groups = pattern.group_count();
        if groups >= fields {
            return;
        }
        let message = match (fields, groups) {
            (_, 0) => format!("`order` has nothing to take: the `{}` has no `( )`", part.name),
            _ => format!("`order` names {fields} fields, and the `{}` has {groups} `( )`", part.name),
        };
        self.findings.push(
            Finding::new(&codes::ORDER_UNFILLED, message)
                .at(order.text.span(), "the last ones stay empty")
                .related(part.text.span(), "each `( )` fills one field")
                .note("a condition on a field that a line has not never holds")
                .help("put `( )` around what each field is to hold, in the order of their names".to_owned()),
        );
    }

    fn good<T>(&mut self, part: &Part, dialect: Dialect, pattern: Result<T, PatternError>) -> Option<T> {
        if pattern.is_ok() {
            dialect::look(part.name, dialect, &part.text, None, self.findings);
        }
        pattern
            .map_err(|error| {
                self.findings.push(
                    Finding::new(&codes::BAD_PATTERN, format!("`{}` can't be compiled: {}", part.name, error.message))
                        .at(part.text.span_of(error.start..error.end), "")
                        .help(error.help),
                );
            })
            .ok()
    }
}

fn none_of(name: &str, text: &Text, allowed: impl Iterator<Item = &'static str> + Clone) -> Finding {
    let list: Vec<_> = allowed.clone().map(|word| format!("`{word}`")).collect();
    let near = super::suggest(text.value.trim(), allowed).map(|near| format!("did you mean `{near}`?"));
    Finding::new(&codes::BAD_VALUE, format!("`{name}` can't be `{}`", shown(&text.value)))
        .at(text.span(), format!("expected one of {}", list.join(", ")))
        .help(near)
}
