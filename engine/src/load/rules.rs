//! From one file's elements to rules.

use super::LEVEL_MAX;
use super::change;
use super::checks;
use super::composite::{self, Written};
use super::draft::Draft;
use super::elements::{self, ELEMENTS, Nested, Occurrence, Support};
use super::number::number;
use super::order;
use super::text::{Text, Texts};
use crate::composite::RuleMemory;
use crate::finding::{Finding, Findings, codes, shown};
use crate::ruleset::{Category, Condition, Rule, Settings, Test};
use crate::source::Span;
use crate::xml::{self, Attribute, Element};

/// The attributes of `<rule>`.
const RULE_ATTRIBUTES: &[&str] =
    &["id", "level", "maxsize", "timeframe", "frequency", "accuracy", "ignore", "noalert", "overwrite"];

/// The elements whose texts people read and nothing is compared with.
const TEXTS_FOR_PEOPLE: [&str; 3] = ["description", "info", "cve"];

/// The level of a silent rule of accuracy 0. It is not logged, whatever its options say.
const LEVEL_UNLOGGED: u16 = 99;

/// Reads the rules of a file into `drafts`, in their order.
pub(crate) fn read(text: &[u8], file: u32, settings: &Settings, drafts: &mut Vec<Draft>, findings: &mut Findings) {
    let document = xml::parse(text, file, findings);
    for span in &document.stray {
        findings.push(checks::stray(*span, text));
    }
    let mut reader = Reader { file: text, texts: Texts::new(text), settings, drafts, findings };
    for element in &document.roots {
        reader.root(element);
    }
}

struct Reader<'a> {
    file: &'a [u8],
    texts: Texts<'a>,
    settings: &'a Settings,
    drafts: &'a mut Vec<Draft>,
    findings: &'a mut Findings,
}

impl Reader<'_> {
    fn root(&mut self, element: &Element) {
        match element.name.as_str() {
            "group" => self.group(element),
            "var" => self.var(element),
            "rule" => {
                self.findings.push(
                    Finding::new(&codes::UNKNOWN_ELEMENT, "a rule stands outside of any group")
                        .at(element.tag, "not in a group")
                        .help("put it into `<group name=\"local,\">`".to_owned()),
                );
                self.rule(element, &Text::default(), element.tag);
            }
            "decoder" => self.findings.push(
                Finding::new(&codes::UNKNOWN_ELEMENT, "decoders may not stand in a rule file")
                    .at(element.name_span, "expected `group` or `var`")
                    .help("name this file among the decoder files".to_owned()),
            ),
            "ossec_config" | "agent_config" => self.findings.push(
                Finding::new(&codes::UNKNOWN_ELEMENT, "this is a configuration of OSSEC, and no rule file")
                    .at(element.name_span, "expected `group` or `var`")
                    .note("a configuration names rule files, decoders, lists and commands")
                    .help("name it with `--ossec-conf`, and all that it names is loaded".to_owned()),
            ),
            name => {
                let near = super::suggest(name, ["group", "var"].into_iter());
                self.findings.push(
                    Finding::new(&codes::UNKNOWN_ELEMENT, format!("`{}` may not stand here", shown(name)))
                        .at(element.name_span, "expected `group` or `var`")
                        .help(near.map(|near| format!("did you mean `{near}`?"))),
                );
                // Rules in a group of the wrong name are still worth checking.
                for child in &element.children {
                    match child.name.as_str() {
                        "group" => self.group(child),
                        "rule" => self.rule(child, &Text::default(), element.tag),
                        _ => {}
                    }
                }
            }
        }
    }

    fn var(&mut self, element: &Element) {
        checks::variable(element, &mut self.texts, self.findings);
    }

    fn group(&mut self, element: &Element) {
        self.stray_texts(element);
        self.only_attributes(element, &["name"], &[], None);
        let name = self.required(element, "name", None);
        let (name, span) = match name {
            Some(name) => (self.attribute(name), name.value),
            None => (Text::default(), element.tag),
        };
        if element.children.is_empty() && element.closed {
            self.findings.push(
                Finding::new(&codes::EMPTY_GROUP, "the group holds no rules")
                    .at(element.tag, "")
                    .help("remove it, or look for an end tag in the wrong place".to_owned()),
            );
        }
        for child in &element.children {
            match child.name.as_str() {
                "rule" => self.rule(child, &name, span),
                // What follows a group that is not closed.
                "group" if !element.closed => self.group(child),
                "var" if !element.closed => self.var(child),
                name => {
                    let near = super::suggest(name, ["rule"].into_iter());
                    self.findings.push(
                        Finding::new(&codes::UNKNOWN_ELEMENT, format!("`{}` may not stand in a group", shown(name)))
                            .at(child.name_span, "expected `rule`")
                            .help(near.map(|near| format!("did you mean `{near}`?"))),
                    );
                }
            }
        }
    }

    fn rule(&mut self, element: &Element, group: &Text, group_span: Span) {
        let errors_before = self.findings.errors();
        let mut draft = self.tag(element, group, group_span);
        self.stray_texts(element);
        let mut occurrences: Vec<Vec<Occurrence<'_>>> = ELEMENTS.iter().map(|_| Vec::new()).collect();
        let mut on_change = Vec::new();
        // Of these nothing is there to look at, and a finding says so.
        let mut is_dropped = false;
        let mut has_unknown = false;
        for child in &element.children {
            if is_next(child, element) {
                continue;
            }
            let known = self.known(child, draft.id);
            has_unknown |= known.is_none();
            if let Some(at) = known {
                let occurrence = self.occurrence(child, ELEMENTS[at].attributes, ELEMENTS[at].nested, draft.id);
                let is_on_change =
                    ELEMENTS[at].attributes.contains(&change::ON) && child.attribute(change::ON).is_some();
                match is_on_change {
                    true if occurrence.is_dropped() => is_dropped = true,
                    true => on_change.push(occurrence),
                    false => occurrences[at].push(occurrence),
                }
            }
        }
        if element.children.is_empty() && element.closed {
            self.findings.push(
                Finding::new(&codes::NO_CONDITION, "the rule holds no element")
                    .at(element.tag, "")
                    .rule(draft.id)
                    .help("say at least where it hangs: `<if_sid>530</if_sid>` for outputs of commands".to_owned()),
            );
        }
        for (kind, occurrences) in ELEMENTS.iter().zip(&occurrences) {
            if occurrences.iter().any(Occurrence::is_dropped) {
                is_dropped = true;
                draft.parents_unknown |= kind.name.starts_with("if_");
            } else if let (Support::Yes(build), false) = (&kind.support, occurrences.is_empty()) {
                build(&mut draft, occurrences, self.findings);
            }
        }
        change::patterns(&mut draft, &on_change, self.findings);
        order::one_place(&draft, self.findings);
        composite::finish(&mut draft, self.settings, self.findings);
        draft.broken = self.findings.errors() > errors_before || !is_intact(element);
        self.finish(draft, is_whole(element) && !is_dropped && !has_unknown);
        for child in element.children.iter().filter(|child| is_next(child, element)) {
            match child.name.as_str() {
                "rule" => self.rule(child, group, group_span),
                "group" => self.group(child),
                _ => self.var(child),
            }
        }
    }

    /// One element of a rule, with what may stand in it.
    fn occurrence<'e>(
        &mut self,
        element: &'e Element,
        attributes: &[&str],
        nested: Nested,
        rule: Option<u32>,
    ) -> Occurrence<'e> {
        if nested.is_empty() {
            self.only_text(element);
        }
        self.only_attributes(element, attributes, &[], rule);
        let owner = format!("`{}`", element.name);
        let text = if TEXTS_FOR_PEOPLE.contains(&element.name.as_str()) {
            self.texts.take_shown(&element.texts, element.tag, &owner, self.findings)
        } else {
            checks::entities(element, self.file, rule, self.findings);
            self.texts.take(&element.texts, element.tag, &owner, self.findings)
        };
        Occurrence {
            element,
            text,
            attributes: element.attributes.iter().map(|attribute| self.attribute(attribute)).collect(),
            nested: if nested.is_empty() { Vec::new() } else { self.nested(element, nested, rule) },
        }
    }

    fn nested<'e>(&mut self, element: &'e Element, kinds: Nested, rule: Option<u32>) -> Vec<Occurrence<'e>> {
        let mut nested = Vec::new();
        for child in &element.children {
            if let Some((_, attributes)) = kinds.iter().find(|(name, _)| *name == child.name) {
                nested.push(self.occurrence(child, attributes, &[], rule));
            } else if element.closed {
                // Otherwise it only landed here because an end tag is missing.
                let near = super::suggest(&child.name, kinds.iter().map(|(name, _)| *name));
                let message = format!("`{}` may not stand in `{}`", shown(&child.name), element.name);
                let names: Vec<_> = kinds.iter().map(|(name, _)| format!("`{name}`")).collect();
                self.findings.push(
                    Finding::new(&codes::UNKNOWN_ELEMENT, message)
                        .at(child.name_span, format!("expected one of {}", names.join(", ")))
                        .rule(rule)
                        .help(near.map(|near| format!("did you mean `{near}`?"))),
                );
            }
        }
        nested
    }

    /// The start tag of a rule.
    fn tag(&mut self, element: &Element, group: &Text, group_span: Span) -> Draft {
        let id_attribute = element.attribute("id");
        let id_span = id_attribute.map_or(element.tag, |attribute| attribute.value);
        let id = self.id(element, id_attribute);
        self.only_attributes(element, RULE_ATTRIBUTES, &[], id);
        let level = self.level(element, id);
        let ignore_seconds = self.digits(element, "ignore", 6).map_or(0, |(seconds, _)| seconds);
        let accuracy = self.digits(element, "accuracy", 4).map_or(1, |(accuracy, _)| accuracy);
        let (level, rank) = self.rank(element, level, accuracy, id);
        let size_min = self.digits(element, "maxsize", 4).filter(|(bytes, _)| *bytes > 0);
        let size = |(bytes, span)| Condition { test: Test::SizeMin(bytes), span };
        let overwrites = self.overwrites(element, id);
        Draft {
            id,
            id_span,
            group_span,
            category: None,
            parents: Vec::new(),
            if_group: None,
            if_level: None,
            found_parents: Vec::new(),
            hangs_by_count: false,
            finds_later: false,
            rank,
            rank_now: rank,
            frequency: self.digits(element, "frequency", 4),
            timeframe: self.digits(element, "timeframe", 5),
            set_aside: false,
            also_under_root: false,
            parents_unknown: false,
            decoded_as: None,
            fields: Vec::new(),
            overwrites,
            broken: false,
            memory: Written::default(),
            rule: Rule {
                id: id.unwrap_or(0),
                level,
                ignore_seconds,
                noalert: self.noalert(element, id),
                log: level >= self.settings.log_alert_level,
                mail: level >= self.settings.email_alert_level,
                groups: Vec::new(),
                group_text: group.value.clone(),
                description: None,
                conditions: size_min.map(size).into_iter().collect(),
                check_diff: None,
                on_change: Vec::new(),
                ignore_key: None,
                memory: RuleMemory::default(),
                children: Vec::new(),
                span: element.tag,
            },
        }
    }

    fn id(&mut self, element: &Element, attribute: Option<&Attribute>) -> Option<u32> {
        let Some(attribute) = attribute else {
            if !element.damaged && !checks::is_misspelt(element, "id") {
                self.findings.push(
                    Finding::new(&codes::BAD_ID, "the rule has no id")
                        .at(element.tag, "")
                        .help("add `id=\"NUMBER\"`; ids from 100000 are free for local rules".to_owned()),
                );
            }
            return None;
        };
        let id = number(&self.attribute(attribute), "id", 6, self.findings)?;
        if id == 0 {
            self.findings.push(
                Finding::new(&codes::BAD_ID, "a rule can't have id 0")
                    .at(attribute.value, "expected 1 to 999999")
                    .help("ids from 100000 are free for local rules".to_owned()),
            );
            return None;
        }
        Some(id)
    }

    fn level(&mut self, element: &Element, id: Option<u32>) -> u16 {
        let Some(attribute) = self.required(element, "level", id) else { return 0 };
        let level = number(&self.attribute(attribute), "level", 4, self.findings).unwrap_or(0);
        if level > LEVEL_MAX && level != 99 {
            self.findings.push(
                Finding::new(&codes::LEVEL_TOO_HIGH, format!("level {level} is above {LEVEL_MAX}"))
                    .at(attribute.value, format!("levels go from 0 to {LEVEL_MAX}"))
                    .rule(id)
                    .help(format!("write a level from 1 to {LEVEL_MAX}")),
            );
        }
        if level != 99 {
            // Four digits at most.
            return u16::try_from(level).unwrap_or(u16::MAX);
        }
        self.findings.push(
            Finding::new(&codes::LEVEL_99, "level 99 is read as 0: the rule is silent")
                .at(attribute.value, "becomes 0")
                .rule(id)
                .note("OSSEC does the same")
                .help("write `level=\"0\"`, or a level up to 16 for alerts".to_owned()),
        );
        0
    }

    /// A number in an attribute, and its place.
    fn digits(&mut self, element: &Element, name: &str, digits: usize) -> Option<(u32, Span)> {
        let attribute = element.attribute(name)?;
        Some((number(&self.attribute(attribute), name, digits, self.findings)?, attribute.value))
    }

    /// A rule's level and its place among its siblings. Silent rules come before all others, those with `accuracy="0"`
    /// after all others; what is both ends as neither, in OSSEC too.
    fn rank(&mut self, element: &Element, level: u16, accuracy: u32, id: Option<u32>) -> (u16, u16) {
        match (level, accuracy) {
            (0, 0) => {
                let span = element.attribute("accuracy").map_or(element.tag, |attribute| attribute.value);
                self.findings.push(
                    Finding::new(
                        &codes::LEVEL_99,
                        "level 0 with accuracy 0 becomes level 99: recorded, but not logged",
                    )
                    .at(span, "makes it level 99")
                    .rule(id)
                    .note("OSSEC does the same")
                    .help("remove `accuracy` if the rule should be silent".to_owned()),
                );
                (LEVEL_UNLOGGED, 0)
            }
            (level, 0) => (level, 0),
            (0, _) => (0, 99),
            (level, _) => (level, level),
        }
    }

    /// Present with any value means on, even `0`.
    fn noalert(&mut self, element: &Element, id: Option<u32>) -> bool {
        let Some(attribute) = element.attribute("noalert") else { return false };
        let value = self.attribute(attribute);
        if ["0", "no", "false", "off"].iter().any(|off| value.value.trim().eq_ignore_ascii_case(off)) {
            self.findings.push(
                Finding::new(&codes::VALUE_IGNORED, format!("`noalert=\"{}\"` switches it on", value.value))
                    .at(attribute.value, "the value does not matter")
                    .rule(id)
                    .note("OSSEC does the same: the attribute's presence counts, whatever its value")
                    .help("remove the attribute if the rule should alert".to_owned()),
            );
        }
        true
    }

    fn overwrites(&mut self, element: &Element, id: Option<u32>) -> bool {
        let Some(attribute) = element.attribute("overwrite") else { return false };
        let value = self.attribute(attribute);
        match value.value.as_str() {
            "no" => false,
            "yes" => true,
            other => {
                self.findings.push(
                    Finding::new(&codes::BAD_VALUE, format!("`overwrite` can't be `{}`", shown(other)))
                        .at(attribute.value, "expected `yes` or `no`")
                        .rule(id),
                );
                true
            }
        }
    }

    /// The place in the table of an element that this version supports. Others become findings.
    fn known(&mut self, element: &Element, rule: Option<u32>) -> Option<usize> {
        let name = element.name.as_str();
        let known = elements::find(name);
        let finding = match known.map(|at| &ELEMENTS[at].support) {
            Some(Support::Yes(_)) => return known,
            Some(Support::WazuhOnly(alike)) => {
                let help = match alike {
                    Some(alike) => format!("OSSEC's is called `{alike}`"),
                    None => "remove it, or write the rule without it".to_owned(),
                };
                Finding::new(&codes::WAZUH_ONLY, format!("the element `{name}` is Wazuh's, not OSSEC's"))
                    .at(element.name_span, "not part of OSSEC's rule language")
                    .help(help)
            }
            None => {
                let names = ELEMENTS.iter().filter(|kind| !matches!(kind.support, Support::WazuhOnly(_)));
                let near = super::suggest(name, names.map(|kind| kind.name));
                Finding::new(&codes::UNKNOWN_ELEMENT, format!("there is no element `{}`", shown(name)))
                    .at(element.name_span, "unknown element")
                    .help(near.map(|near| format!("did you mean `{near}`?")))
            }
        };
        self.findings.push(finding.rule(rule));
        None
    }

    fn only_attributes(&mut self, element: &Element, known: &[&str], not_yet: &[&str], rule: Option<u32>) {
        checks::only_attributes(element, known, not_yet, rule, self.findings);
    }

    fn required<'e>(&mut self, element: &'e Element, name: &str, rule: Option<u32>) -> Option<&'e Attribute> {
        checks::required(element, name, rule, self.findings)
    }

    fn attribute(&mut self, attribute: &Attribute) -> Text {
        checks::attribute(attribute, &self.texts, self.findings)
    }

    fn only_text(&mut self, element: &Element) {
        checks::only_text(element, self.findings);
    }

    fn stray_texts(&mut self, element: &Element) {
        checks::stray_texts(element, self.file, self.findings);
    }

    /// What follows from the whole of a rule, if all of it could be read.
    fn finish(&mut self, mut draft: Draft, whole: bool) {
        let rule = &mut draft.rule;
        // Level 0 is never logged, and what is not logged is never mailed, whatever the options say.
        rule.log &= rule.level > 0 && rule.level != LEVEL_UNLOGGED;
        rule.mail &= rule.log;
        rule.groups =
            rule.group_text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect();
        if whole && rule.log && !rule.noalert && rule.description.is_none() {
            self.findings.push(
                Finding::new(&codes::NO_DESCRIPTION, "the rule has no description")
                    .at(rule.span, "")
                    .rule(draft.id)
                    .note("its alerts say `(null)` instead"),
            );
        }
        if draft.is_root() {
            let category = draft.category.map_or(Category::Syslog, |(category, _)| category);
            let span = draft.category.map_or(draft.rule.span, |(_, span)| span);
            draft.rule.conditions.insert(0, Condition { test: Test::Category(category), span });
            if let Some((element, span)) = draft.hung_by() {
                self.findings.push(
                    Finding::new(&codes::VALUE_IGNORED, format!("`{element}` of a root rule has no effect"))
                        .at(span, "ignored")
                        .rule(draft.id)
                        .note("rules with ids 1 to 9 stand at the top of the tree")
                        .help("give the rule an id from 100000".to_owned()),
                );
                draft.parents.clear();
                (draft.if_group, draft.if_level) = (None, None);
            }
        }
        self.drafts.push(draft);
    }
}

/// Whether an element follows the rule and only landed in it because the rule is not closed.
fn is_next(child: &Element, rule: &Element) -> bool {
    match child.name.as_str() {
        "rule" => true,
        // `<group>` without a name is the rule's own.
        "group" => !rule.closed && child.attribute("name").is_some(),
        "var" => !rule.closed,
        _ => false,
    }
}

/// Whether no tag of an element and of those in it is damaged or missing. Otherwise findings of the markup say so, and
/// what was read may be more or less than what was meant.
fn is_intact(element: &Element) -> bool {
    element.closed && !element.damaged && element.children.iter().all(is_intact)
}

/// Whether nothing of a rule was lost through a missing end tag.
fn is_whole(rule: &Element) -> bool {
    rule.closed && !rule.children.is_empty() && rule.children.iter().all(|child| child.closed)
}
