//! Every code a finding can have: what it is about, why it matters, what to do. Codes are stable: people write them
//! into suppressions and scripts.

use super::Severity::{self, Error, Info, Warning};

/// One code of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// `TL` and four digits.
    pub code: &'static str,
    /// How bad findings of this code are.
    pub severity: Severity,
    /// What they are about.
    pub title: &'static str,
    /// Why it matters.
    pub why: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

/// The code of this name, in any case.
pub fn find(code: &str) -> Option<&'static Code> {
    ALL.iter().find(|entry| entry.code.eq_ignore_ascii_case(code))
}

macro_rules! codes {
    ($($name:ident = $code:literal $severity:ident, $title:literal, $why:literal, $remedy:literal;)*) => {
        $(
            #[doc = $title]
            pub const $name: Code =
                Code { code: $code, severity: $severity, title: $title, why: $why, remedy: $remedy };
        )*
        /// All codes, in their order.
        pub const ALL: &[Code] = &[$($name),*];
    };
}

codes! {
    // XML
    FILE_TOO_LARGE = "TL0001" Error, "a file is too large",
        "Rule files are some kilobytes; a file of many megabytes is most likely something else, and reading it would take memory for nothing.",
        "Name the right file, or split it.";
    NOT_UTF8 = "TL0002" Error, "text is not UTF-8",
        "A pattern with bytes of another encoding would not match what it seems to say.",
        "Save the file as UTF-8.";
    BAD_MARKUP = "TL0003" Error, "a `<` starts no tag",
        "In rule files `<` always starts a tag; what follows here is no name.",
        "Write a literal `<` as `\\<`. The backslash stays in the text: `regex` reads `\\<` as `<`, `match` does not.";
    TAG_NOT_CLOSED = "TL0004" Error, "a tag has no `>`",
        "Everything up to the next `>` would be read as part of the tag.",
        "Add the missing `>`.";
    COMMENT_NOT_CLOSED = "TL0005" Error, "a comment does not end",
        "The rest of the file is part of the comment, so rules after it are not loaded.",
        "End it with `-->`, or with `!>` when it starts with `<!` alone.";
    BAD_ATTRIBUTE = "TL0006" Error, "an attribute is not written as NAME=\"VALUE\"",
        "The attribute can't be read.",
        "Write `name=\"value\"`, with quotes around the value.";
    NOT_CLOSED = "TL0007" Error, "an element is not closed",
        "Where the element ends decides what belongs to it.",
        "Add the end tag.";
    BAD_END_TAG = "TL0008" Error, "an end tag does not fit",
        "An end tag closes the element that was opened last; the case of letters does not matter.",
        "Correct its name, or remove it.";
    TOO_DEEP = "TL0009" Error, "elements are nested too deep",
        "Rules need three levels; deeper nesting is a sign of missing end tags.",
        "Look for elements that are not closed.";
    REPEATED_ATTRIBUTE = "TL0010" Error, "an attribute is given twice",
        "It is not clear which one should count, and OSSEC refuses it.",
        "Remove one of them.";
    STRAY_TEXT = "TL0011" Warning, "text between elements is ignored",
        "Text that stands in no element has no effect; often a tag was lost.",
        "Remove it, make it a comment (`<!-- -->`), or add the tag.";
    TEXT_TOO_LONG = "TL0012" Error, "a text is too long",
        "OSSEC drops a text of 2048 bytes or more from the rule, so the rule then matches everything the text was meant to filter.",
        "Make it shorter, split the rule into several, or look its words up in a `list`. Repeated elements of one name are joined, and have the same bound together.";
    TOO_MANY_FINDINGS = "TL0013" Warning, "too many findings in one file",
        "The list of findings is bounded so that a broken file stays readable. It is an error when an error is left out.",
        "Correct the first ones and check again.";
    BAD_VARIABLE = "TL0014" Error, "a variable is not defined or not written correctly",
        "In a file that defines variables, `$NAME` must name one that is defined before it.",
        "Define it with `<var name=\"NAME\">text</var>` above its first use, or correct the name.";
    TOO_MANY_ELEMENTS = "TL0015" Error, "a file holds too many elements",
        "Reading goes on only so far, so that a huge file can't take all memory.",
        "Split the file.";
    FILE_NOT_READ = "TL0016" Error, "a file that is named can't be read",
        "Rules, decoders or lists that are silently missing are worse than a rule set that is refused. What refers to them is reported as well.",
        "Correct the name or the permissions of the file, or remove what names it.";
    OSSEC_CONF_ERROR = "TL0017" Error, "OSSEC's configuration can't be used",
        "It says which commands run and which rules are loaded; what can't be understood would be missing from them.",
        "Correct the line.";
    OSSEC_CONF_PART = "TL0018" Warning, "a part of OSSEC's configuration has no effect, or another one than it seems",
        "Of OSSEC's configuration Tripline reads commands, rules, decoders, lists and the levels of alerts; settings go before it.",
        "Correct or remove the part, or allow this code if OSSEC itself needs it.";
    ENTITY = "TL0019" Warning, "an entity or a declaration of XML stands for itself",
        "OSSEC's rule files have neither: `&lt;` is a text of four characters, and whatever begins with `<!` is a comment. A condition that is written so does not fit what it seems to.",
        "Write the character itself: `>`, `&`, `\"`; for `<` write `\\<`, in `regex` and not in `match`. If the text with `&` is meant, allow this code there.";
    COMMANDS_ERROR = "TL0020" Error, "the commands can't be used",
        "Rules judge the outputs of commands, so `run` refuses to start without a sound list of them. Nothing is said of what else depends on their names.",
        "Correct the file of commands, the `[[command]]` tables of the settings, or OSSEC's configuration.";
    SETTINGS_ERROR = "TL0021" Error, "the settings can't be used",
        "With settings that can't be read nothing starts. The rules that they name, and the time zone, are not known then: only what flags name is looked at.",
        "Correct the line of `tripline.toml`, or the variable of the environment.";
    SHOWN_NOT_UTF8 = "TL0022" Warning, "a text that is only shown is not UTF-8",
        "Files of another encoding, such as Latin-1, are read byte by byte. Nothing is compared with such a text, so the rule is loaded; alerts show U+FFFD in place of what is no character.",
        "Save the file as UTF-8.";

    // Ids
    DUPLICATE_ID = "TL0101" Error, "two rules have one id",
        "Alerts, timers and baselines are kept by id, so an id must name one rule. OSSEC refuses duplicates too.",
        "Give one of them another id; ids from 100000 are free for local rules.";
    BAD_ID = "TL0102" Error, "a rule has no id, or id 0",
        "A rule is named by its id: in alerts, in `if_sid`, in its state.",
        "Add `id=\"NUMBER\"`; ids from 100000 are free for local rules.";
    RESERVED_ID = "TL0103" Warning, "an id belongs to Tripline",
        "Ids 990000 to 999999 are Tripline's: a later version may ship a rule with the same id.",
        "Use an id from 100000 to 989999, or hang the rule under 990000 if it is about failed runs.";
    NO_RULES = "TL0104" Error, "there are no rules",
        "Without rules nothing is ever reported, which nobody wants by intention.",
        "Name the directory or files that hold the rules.";
    EMPTY_GROUP = "TL0105" Error, "a group holds no rules",
        "OSSEC refuses a group without rules; often an end tag stands in the wrong place.",
        "Remove the group, or add a rule.";
    EMPTY_FILE = "TL0106" Warning, "a file holds no rules or decoders",
        "A file that is named is meant to bring something; one that is empty was perhaps cut off.",
        "Write the file anew, or remove it or what names it.";
    FILE_NAMED_TWICE = "TL0107" Info, "a file is named twice",
        "Flags, settings or OSSEC's configuration name it, or a directory that holds it, more than once. It is loaded once, where it is first named: twice, each of its ids and decoders would be there twice.",
        "Nothing needs to be done; remove one of the names if the order of files matters.";

    // References
    MISSING_PARENT = "TL0201" Error, "`if_sid` refers to a rule that does not exist",
        "The rule would hang nowhere and never be tried.",
        "Correct the id, or load the file that holds the parent: an OSSEC installation brings its own rules with `--ossec-conf`. With `--orphans=warn` such rules are set aside.";
    CYCLE = "TL0202" Error, "rules are each other's parents",
        "A rule is tried after its parent holds; in a circle none is ever tried.",
        "Remove one `if_sid` of the circle.";
    NO_ROOT = "TL0203" Error, "no root rule has this category",
        "A rule without `if_sid` hangs under the root (id 1 to 9) of its category.",
        "Do not redefine ids 1 to 7, or keep one root for each category.";
    SET_ASIDE = "TL0204" Warning, "a rule is set aside",
        "None of its parents exists, so it can never be tried. It was left out because you asked for that.",
        "Load the parents, or remove the rule.";
    TREE_TOO_DEEP = "TL0205" Error, "a chain of parents is too long",
        "Each parent is one more step for each event.",
        "Hang the rule higher.";
    EMPTY_PARENT_ID = "TL0206" Warning, "`if_sid` has a comma or space too many",
        "The empty id also hangs the rule under the root of its category, as in OSSEC, where it sees lines its other parents never do.",
        "Remove the separator.";
    BAD_PARENT_ID = "TL0207" Error, "`if_sid` is not a list of ids",
        "Ids are digits, separated by commas or spaces; OSSEC refuses anything else, line breaks too.",
        "Write `<if_sid>530, 531</if_sid>`.";
    NO_PARENT_FOUND = "TL0208" Error, "`if_group` or `if_level` finds no rule",
        "They find parents among the rules that are loaded before, and when there is none among those behind; a rule without a parent would never be tried.",
        "Correct the group, or load the file with the rules of that group.";
    NOTHING_TO_OVERWRITE = "TL0209" Error, "a rule overwrites one that does not exist",
        "`overwrite=\"yes\"` changes a rule that is loaded before. OSSEC refuses it too.",
        "Correct the id, load the other file first, or remove `overwrite`.";
    TOO_MANY_PLACES = "TL0210" Error, "rules hang in too many places",
        "By `if_group` and `if_level` a rule hangs under each rule that they find. The number of places is bounded so that no rule set can take all memory.",
        "Use `if_sid`, or narrow the group.";
    PARENTS_BEHIND = "TL0211" Info, "rules of a group stand behind one that asks for it",
        "As in OSSEC `if_group` and `if_matched_group` find the rules that are loaded before; those behind are no parents, and their results do not count. Only when there is none before are those behind taken.",
        "Load the file behind those that hold the group, or hang the rule by `if_sid`, which finds rules anywhere.";

    // Attributes and elements
    UNKNOWN_ELEMENT = "TL0301" Error, "an element is unknown",
        "It would have no effect, and a condition without effect makes a rule match too much. OSSEC refuses it too.",
        "Correct its name, or remove it.";
    UNKNOWN_ATTRIBUTE = "TL0302" Error, "an attribute is unknown",
        "It would have no effect. OSSEC refuses it too.",
        "Correct its name, or remove it.";
    NOT_SUPPORTED = "TL0303" Error, "OSSEC knows it, this version of Tripline does not yet",
        "Leaving it out silently would change what the rule says.",
        "Take the rule out, or write it without this for now.";
    BAD_NUMBER = "TL0304" Error, "a value is not a number",
        "Numbers are digits only: no sign, no unit, no space.",
        "Write digits only.";
    NUMBER_SHORTENED = "TL0305" Warning, "a number has too many digits",
        "As in OSSEC only the first digits count, so the value is another one than it seems.",
        "Write the number that is meant.";
    BAD_VALUE = "TL0306" Error, "a value is none of those allowed",
        "It would have no meaning. OSSEC refuses it too.",
        "Use one of the values listed.";
    BAD_PATTERN = "TL0307" Error, "a pattern is refused",
        "The pattern can't be compiled, or could never mean what it says.",
        "Correct the marked part.";
    NO_CONDITION = "TL0308" Error, "a rule holds no element",
        "OSSEC refuses a rule without any child element.",
        "Add a condition, at least `if_sid`, and a description.";
    NESTED_ELEMENT = "TL0309" Error, "an element stands where only text may stand",
        "It would be ignored.",
        "Close the outer element before it, or write a literal `<` as `\\<`.";
    MISSING_ATTRIBUTE = "TL0310" Error, "a required attribute is missing",
        "Without it the element has no defined meaning.",
        "Add it.";
    VALUE_IGNORED = "TL0311" Warning, "a value has no effect",
        "The value reads as if it changed something, and it does not.",
        "Remove it.";
    LEVEL_99 = "TL0312" Warning, "level 99 becomes 0",
        "As in OSSEC level 99 is read as 0: the rule is silent.",
        "Write 0 if it should be silent, or at most 16 if it should alert.";
    TIME_MISLEADS = "TL0313" Warning, "a `time` means something else than it seems to",
        "OSSEC reads `12 am` as noon, and a range over midnight can't be negated. Rules that rely on it must go on to work, so Tripline reads them alike.",
        "Write the time that is meant with hours from 0 to 23.";
    NO_TIME_ZONE = "TL0314" Error, "`time` and `weekday` need a time zone",
        "The same moment is day in one place and night in another. Rules never ask the machine they run on, since replay must give the same alerts.",
        "Set `time_zone` in tripline.toml, such as `time_zone = \"Europe/Berlin\"`.";
    NEVER_HOLDS = "TL0315" Warning, "a rule never holds",
        "It asks for something that Tripline does not have, or for two things that exclude each other.",
        "Write the condition in another way, or remove the rule.";
    CONDITION_DROPPED = "TL0316" Warning, "a condition has no effect beside another",
        "As in OSSEC, of two forms of one condition only one is tested, so the rule holds more often than it seems to.",
        "Remove it, or put both into one expression.";
    LEVEL_TOO_HIGH = "TL0317" Warning, "a level is above 16",
        "OSSEC's levels go from 0 to 16. Others are taken as they are, but whoever sorts or filters alerts by their level does not expect them.",
        "Write a level from 1 to 16.";
    PATTERNS_TOO_LARGE = "TL0318" Error, "the patterns of the rule set may take too much memory",
        "Each pattern is bounded by itself. A thousand that count within counts, such as `((\\w{50}){50}){10}`, take gigabytes together, and the program would be ended for want of memory.",
        "Count less in `{ }`: `\\w{2500}` is written out 2,500 times. Often `+` or a shorter count finds the same lines, or one rule above the others looks at the long part.";
    BAD_NUMBERS = "TL0320" Error, "a condition on a number can't be read",
        "Conditions on facts of a run and on counts of lines are numbers, ranges or comparisons.",
        "Write `0`, `1-5`, `>= 30s`, several with commas between, or `!` before all of them. `<` is written `\\<`.";
    BAD_STEP = "TL0321" Error, "a step of a normaliser is not written correctly",
        "`check_diff` would compare other texts than it seems, and report or hide the wrong changes.",
        "Correct the marked part.";
    CONTRADICTION = "TL0322" Warning, "two parts of a rule contradict each other",
        "One of them has no effect, and it may be the one that was meant.",
        "Remove the one that is not meant.";
    OTHER_DIALECT = "TL0323" Warning, "a pattern is written in another dialect",
        "`match` knows literal texts, `|`, and `^` and `$` at the ends of an alternative. `regex` has `\\w`, `\\d`, `\\s`, `\\.` for any character, and `+` and `*` behind such an escape. Signs of other regular expressions stand for themselves, so the pattern loads, and fits other texts than it seems to: mostly none.",
        "Write it as the dialect has it, or use `match_pcre2`, `pcre2` or the `_pcre2` twin of a field, where it means what it seems to. If the characters themselves are meant, allow this code there.";
    LINE_BREAK = "TL0324" Warning, "a pattern holds a line break",
        "White space in a pattern counts. No line of a log or of a `command` holds a line break, and the output of a `full_command` has to have the same one, with the same indentation.",
        "Write the pattern in one line. Long lists of alternatives can be written as several elements, which are joined with nothing between: end each but the last with `|`.";
    FITS_EVERYTHING = "TL0325" Warning, "an alternative fits every text",
        "A `|` at the start or the end, or two side by side, make an empty alternative, and that fits everything: the others ask for nothing.",
        "Remove the `|`, or the alternative.";
    TEXTS_RUN_TOGETHER = "TL0326" Warning, "the texts of two elements run together",
        "As in OSSEC the texts of an element that is repeated are joined with nothing between: the rule asks for one long text, and not for both or for either of them.",
        "For either of them end the first with `|`. For both hang a rule with the second under this one, or write `match` for the one and `regex` for the other.";

    // State and scope
    NO_CHANGE = "TL0401" Error, "a condition on a change has no change to ask about",
        "Conditions with `on`, `added_lines` and `removed_lines` ask about the change that `check_diff` found, in the rule itself or in one above it. Without one the rule never holds.",
        "Add `<check_diff/>` to the rule, or hang it under a rule that has one, such as 533.";
    SHARED_BASELINE = "TL0420" Info, "OSSEC would keep one baseline for several commands",
        "OSSEC remembers one text for each agent and rule, so commands that reach the same `check_diff` overwrite each other's and alert in every run. Tripline keeps one for each command.",
        "Nothing needs to be done for Tripline. If the rules must work in OSSEC too, write one rule for each command.";

    // Memory
    NO_CONTEXT = "TL0431" Error, "a rule says how to count, and not what",
        "`frequency` and the `same_...`, `different_...` and `not_same_...` elements are about earlier events; without an `if_matched_...` element there are none. OSSEC refuses it too.",
        "Add `if_matched_sid`, `if_matched_group` or `if_matched_regex`, or remove the others.";
    CROSSES_KEYS = "TL0432" Error, "a rule counts over all agents, and there are several partitions",
        "What is remembered belongs to a partition and moves with it; a count over several agents or commands would miss those of other partitions.",
        "Add `same_location`, so that each agent and command is counted by itself, or use topics with one partition.";
    TIMEFRAME_ALONE = "TL0433" Warning, "a `timeframe` without a `frequency`",
        "Without `if_matched_...` it has no effect. With it the frequency is 0, so that the rule holds with the second event.",
        "Write the frequency that is meant, or remove the `timeframe`.";
    FREQUENCY_TOO_HIGH = "TL0434" Warning, "a frequency can't be reached",
        "Only so many events are remembered, as in OSSEC, so the rule never holds.",
        "Use a lower frequency.";
    COUNTS_NOTHING = "TL0435" Warning, "a rule counts events that never are",
        "Only results of rules with a level above 0 are recorded, and not those that are held back.",
        "Count a rule that has results, or give that rule a level.";
    OVERRULED = "TL0436" Warning, "an element about earlier events is overruled by another",
        "Only one of them counts.",
        "Remove the other.";
    COUNTED_APART = "TL0437" Warning, "a count of a group leaves out rules of it",
        "As in OSSEC a result counts in one place: a rule that some `if_matched_sid` names is no longer counted by an `if_matched_group`. The rule counts fewer events than it seems to, and may never hold.",
        "Count them by `if_matched_regex`, or count the group alone. Where an `if_matched_sid` beside it is needed, write one for each rule of the group.";

    // Reachability
    NEVER_REACHED = "TL0501" Warning, "a rule is never reached",
        "A silent rule beside it is tried first and keeps every line this rule could match.",
        "Hang the rule under the silent one, or under 530 for command outputs.";
    SHADOWED = "TL0502" Warning, "an earlier sibling takes every line that a rule could match",
        "Siblings are tried from the highest level to the lowest, level 0 first, equal levels as they were loaded. The first that holds takes the line.",
        "Hang the rule under that sibling, give it a higher level, or narrow the sibling.";
    SAME_CONDITIONS = "TL0503" Warning, "a sibling has the same conditions",
        "One of two rules with the same conditions is a copy that was not finished, or only works when the other steps aside.",
        "Change one of them, remove it, or hang it under the other.";
    NEVER_FITS = "TL0504" Warning, "a pattern fits no text",
        "An anchor in the wrong place can never be fulfilled: `^` stands at the start of an alternative, `$` at its end.",
        "Correct the pattern. For a literal `$` use `regex` and write `\\$`.";
    NOT_FOR_OUTPUTS = "TL0510" Info, "rules can never match the output of a command",
        "They ask for another kind of line, or for fields that outputs do not have. They judge log lines alone.",
        "Nothing, if they are meant for log lines. Rules for outputs hang under 530.";

    // Cost
    NO_LITERAL = "TL0601" Info, "a rule has patterns without a literal",
        "Lines are searched for the literals of all rules at once, and a rule whose literals are missing is not tried. A rule without one of at least three characters is tried with every line that its parent takes.",
        "Add a `match` with a text that every such line holds, such as the name of the command.";

    // Style
    NO_DESCRIPTION = "TL0701" Info, "a rule has no description",
        "Its alerts say `(null)` where the description stands.",
        "Add a `description`.";
    GROUPS_RUN_TOGETHER = "TL0702" Warning, "two groups run together",
        "The file group and those of the rule are joined with nothing between: `base` and `extra,` become `baseextra,`, and nothing finds the rule by either.",
        "End each of them with a comma.";
    BAD_SUPPRESSION = "TL0710" Warning, "a suppression can't be read",
        "A comment that begins with `tripline:` is meant to allow a finding; this one allows none.",
        "Write `<!-- tripline: allow TL0601 until 2027-01-31 because it is a short list -->`. `until` may be left out, the reason not. Errors can't be allowed.";
    EXPIRED_SUPPRESSION = "TL0711" Warning, "a suppression is over",
        "Its date has passed, so what it allowed is a finding again.",
        "Correct what it allowed, or give it a new date.";
    UNUSED_SUPPRESSION = "TL0712" Warning, "a suppression allows nothing",
        "There is no such finding in the next line, nor in the rule that begins there.",
        "Remove it, or put it directly before the line that the finding shows.";

    // Compatibility
    WAZUH_ONLY = "TL0801" Error, "only Wazuh knows it",
        "Tripline follows OSSEC's rule language; leaving it out silently would change what the rule says.",
        "Remove it, or write the rule without it.";

    // Decoders, fields, lists
    BAD_DECODER = "TL0901" Error, "the parts of a decoder do not go together",
        "The decoder would never be used, or never find what it should. OSSEC refuses it too.",
        "Add what is missing, or remove what does not belong.";
    UNKNOWN_PARENT_DECODER = "TL0902" Error, "the parent of a decoder does not exist",
        "A child is tried when its parent fits. Parents stand above their children and have no parent themselves.",
        "Correct the name, or put the parent above the child.";
    DECODER_PART_IGNORED = "TL0903" Info, "a part of a decoder has no effect",
        "OSSEC has it, Tripline accepts it so that decoder files load unchanged. Lines are still told by this decoder.",
        "Rules that need the fields it fills do not hold; write a decoder with `regex` for them.";
    UNKNOWN_DECODER = "TL0904" Error, "`decoded_as` names a decoder that does not exist",
        "The rule would never hold. OSSEC refuses it too.",
        "Correct the name, or load the decoder file that defines it.";
    DECODER_NOT_REPORTED = "TL0905" Warning, "`decoded_as` names a decoder whose lines have another name",
        "A child gives its lines the name of its parent, so the rule never holds.",
        "Name the parent, or let the child use its own name.";
    FIELD_NEVER_FILLED = "TL0906" Warning, "a rule asks for a field that nothing fills",
        "A condition on a field that a line has not never holds.",
        "Correct the name, or load a decoder that finds the field.";
    UNKNOWN_LIST = "TL0907" Warning, "a list does not exist",
        "As in OSSEC the rule never holds then, not even with a `not_...` lookup.",
        "Name the list, or the directory that holds it, with `--lists` or the setting `rules.lists`; with OSSEC's configuration by a `<list>` there.";
    LIST_LINE = "TL0908" Warning, "a line of a list is not as it should be",
        "Lists are lines of `key:value`; each key counts once.",
        "Correct the line.";
    LIST_INVERTED = "TL0909" Warning, "`address_match_key_value` means the opposite of what it says",
        "As in OSSEC it holds when the value does not fit, and when the address is not in the list.",
        "Keep the addresses with that value in a list of their own and use `address_match_key`.";
    INTERNAL_DECODER = "TL0910" Info, "`decoded_as` names a decoder within OSSEC's program",
        "It belongs to what OSSEC's agents find by themselves, so no line of Tripline has it and the rule never holds.",
        "Nothing, if the rules must work in OSSEC too; otherwise remove the rule.";
    ORDER_UNFILLED = "TL0911" Warning, "`order` names more fields than are captured",
        "Each `( )` of a decoder's expression fills one field of its `order`, from left to right. What has none left stays empty, and a condition on a field that a line has not never holds.",
        "Put `( )` around what each field is to hold, or remove the names.";
}
