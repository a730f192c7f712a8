//! A rule while it is read: its compiled form as far as known, and what is needed to find its place.

use super::composite::Written;
use super::text::Text;
use crate::ruleset::{Category, Rule};
use crate::source::Span;

/// One `<rule>` element, read.
#[derive(Debug)]
pub(crate) struct Draft {
    /// `None` when the id is missing or no number; a finding says so.
    pub id: Option<u32>,
    /// The id in the tag; the tag when there is none.
    pub id_span: Span,
    /// The name of the file group.
    pub group_span: Span,
    /// The `category` element.
    pub category: Option<(Category, Span)>,
    /// The ids of `if_sid`, each once.
    pub parents: Vec<ParentId>,
    /// The `if_group` element.
    pub if_group: Option<Expression>,
    /// The `if_level` element.
    pub if_level: Option<(u32, Span)>,
    /// The ids that `if_group` or `if_level` found.
    pub found_parents: Vec<u32>,
    /// The rule does not say where it hangs, and so hangs under what it counts.
    pub hangs_by_count: bool,
    /// They find none before the rule, so those behind it are its parents.
    pub finds_later: bool,
    /// Its place among its siblings: those with a higher one are tried before it. From its level, as it was when the rule
    /// was first loaded.
    pub rank: u16,
    /// The same from its level as it is now: what `if_level` compares.
    pub rank_now: u16,
    /// The `frequency` attribute, with its value's place.
    pub frequency: Option<(u32, Span)>,
    /// The `timeframe` attribute, with its value's place.
    pub timeframe: Option<(u32, Span)>,
    /// It is left out, since none of its parents exists; a finding says so.
    pub set_aside: bool,
    /// `if_sid` holds an empty id.
    pub also_under_root: bool,
    /// The rule says where it hangs in a way that could not be read; a finding says so.
    pub parents_unknown: bool,
    /// The decoder that its lines must have.
    pub decoded_as: Option<Text>,
    /// The fields that it asks for with `field`.
    pub fields: Vec<Text>,
    /// It puts its contents in the place of an earlier rule's of the same id.
    pub overwrites: bool,
    /// Something in it could not be read; a finding says so. It may have conditions that `rule` does not show.
    pub broken: bool,
    /// What it says about its memory.
    pub memory: Written,
    /// Everything else. Its id is 0 when there is none, its children come later.
    pub rule: Rule,
}

/// One id of an `if_sid`.
#[derive(Clone, Debug)]
pub(crate) struct ParentId {
    pub id: u32,
    /// As it is written.
    pub written: String,
    /// Its digits come from several elements, which are joined with nothing between.
    pub joined: bool,
    pub span: Span,
}

/// A text that says where a rule hangs, with its place.
#[derive(Clone, Debug)]
pub(crate) struct Expression {
    pub text: String,
    pub span: Span,
}

/// Rules with an id below this are roots.
pub(crate) const ROOT_IDS_END: u32 = 10;

impl Draft {
    /// Rules with ids 1 to 9 stand at the top.
    pub fn is_root(&self) -> bool {
        self.id.is_some_and(|id| id < ROOT_IDS_END)
    }

    /// The element that says where it hangs, and its place; the one that wins if there are several.
    pub fn hung_by(&self) -> Option<(&'static str, Span)> {
        let (sid, group) = match self.hangs_by_count {
            true => ("if_matched_sid", "if_matched_group"),
            false => ("if_sid", "if_group"),
        };
        let if_sid = self.parents.first().map(|parent| (sid, parent.span));
        let if_level = self.if_level.map(|(_, span)| ("if_level", span));
        let if_group = self.if_group.as_ref().map(|expression| (group, expression.span));
        if_sid.or(if_level).or(if_group)
    }

    /// The ids of all its parents, each with the place that names it.
    pub fn parent_places(&self) -> impl Iterator<Item = (u32, Span)> {
        let found_by = self.hung_by().map_or(self.rule.span, |(_, span)| span);
        let named = self.parents.iter().map(|parent| (parent.id, parent.span));
        named.chain(self.found_parents.iter().map(move |id| (*id, found_by)))
    }

    /// The ids of all its parents.
    pub fn parent_ids(&self) -> impl Iterator<Item = u32> {
        self.parents.iter().map(|parent| parent.id).chain(self.found_parents.iter().copied())
    }

    /// The category that says which root it hangs under.
    pub fn category(&self) -> Category {
        self.category.map_or(Category::Syslog, |(category, _)| category)
    }
}
