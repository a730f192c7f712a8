//! Cases that differ on purpose, each with the row of `docs/compatibility.md` that says why.

use std::sync::LazyLock;

use serde::Deserialize;

use super::CaseReport;

/// One case that differs on purpose.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// The file's name without its ending.
    pub file: String,
    /// The case's name.
    pub case: String,
    /// The row of `docs/compatibility.md`, by its id.
    pub row: String,
    /// Everything that differs, in the words of the runner.
    pub differs: Vec<String>,
}

/// How a case stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Every answer was the expected one.
    Holds,
    /// It differs in just the way that this row of `docs/compatibility.md` announces.
    OnPurpose {
        /// The row's id.
        row: String,
    },
    /// It differs, or differs in another way than announced, or holds though a difference is announced.
    Fails(String),
}

/// The cases that differ on purpose, from `conformance/differences.toml`.
pub fn differences() -> &'static [Difference] {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        difference: Vec<Difference>,
    }
    static DIFFERENCES: LazyLock<Vec<Difference>> = LazyLock::new(|| {
        let file: File = toml::from_str(include_str!("../../conformance/differences.toml"))
            .expect("the file of differences is a part of the program, and a test reads it");
        file.difference
    });
    &DIFFERENCES
}

/// How the cases of a file stand, in their order. `file` is its name without the ending.
pub fn judge(file: &str, reports: &[CaseReport]) -> Vec<Standing> {
    let standing = |report: &CaseReport| {
        let announced = differences().iter().find(|known| known.file == file && known.case == report.name);
        standing(report, announced)
    };
    reports.iter().map(standing).collect()
}

fn standing(report: &CaseReport, announced: Option<&Difference>) -> Standing {
    let found: Vec<_> = report.differences().map(ToString::to_string).collect();
    match (announced, found.first()) {
        (None, None) => Standing::Holds,
        (None, Some(first)) => Standing::Fails(first.clone()),
        (Some(known), None) => Standing::Fails(format!(
            "it holds, though row `{}` of the compatibility page says that it differs",
            known.row
        )),
        (Some(known), Some(_)) if known.differs == found => Standing::OnPurpose { row: known.row.clone() },
        (Some(known), Some(_)) => {
            let at = known.differs.iter().zip(&found).position(|(known, found)| known != found);
            let at = at.unwrap_or_else(|| known.differs.len().min(found.len()));
            let shown = |differs: Option<&String>| differs.map_or("nothing more", String::as_str).to_owned();
            Standing::Fails(format!(
                "it differs in another way than row `{}` of the compatibility page says: {}; expected: {}",
                known.row,
                shown(found.get(at)),
                shown(known.differs.get(at))
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::Failure;

    fn report(differences: &[(usize, &str)]) -> CaseReport {
        let mut failures =
            differences.iter().map(|(event, what)| Failure::Differs { event: *event, what: (*what).to_owned() });
        CaseReport { name: "own".into(), area: "own".into(), failure: failures.next(), more: failures.collect() }
    }

    #[test]
    fn a_case_differs_on_purpose_only_in_just_the_announced_way() {
        let announced = Difference {
            file: "own".into(),
            case: "own".into(),
            row: "some-row".into(),
            differs: vec!["event 1: a".into(), "event 3: b".into()],
        };
        let judged = |differences: &[(usize, &str)]| match standing(&report(differences), Some(&announced)) {
            Standing::Holds => "holds".to_owned(),
            Standing::OnPurpose { row } => row,
            Standing::Fails(why) => why,
        };
        assert_eq!(judged(&[(1, "a"), (3, "b")]), "some-row");
        let another = "it differs in another way than row `some-row` of the compatibility page says: ";
        assert_eq!(judged(&[(1, "a")]), format!("{another}nothing more; expected: event 3: b"));
        assert_eq!(judged(&[(1, "a"), (3, "c")]), format!("{another}event 3: c; expected: event 3: b"));
        assert_eq!(judged(&[(1, "a"), (3, "b"), (4, "c")]), format!("{another}event 4: c; expected: nothing more"));
        assert!(judged(&[]).starts_with("it holds, though row `some-row`"));
        assert_eq!(standing(&report(&[]), None), Standing::Holds);
        assert_eq!(standing(&report(&[(2, "x")]), None), Standing::Fails("event 2: x".into()));
    }
}
