//! An answer as data: what `matrix` and `route` share.

use peerdma::route::{Access, Answer, MapType, TlpClass, Verdict};
use serde::Serialize;

/// One answer of a pair.
#[derive(Serialize)]
pub(crate) struct AnswerLine {
    /// Nothing where it is unknown.
    map_type: Option<MapType>,
    /// All map types that are possible given what is known.
    possible: Vec<MapType>,
    /// -1 where refused, nothing where unknown.
    distance: Option<i64>,
}

impl AnswerLine {
    pub(crate) fn new(verdict: &Verdict, access: Access, class: TlpClass) -> Self {
        let answer: Answer = verdict.answer(access, class);
        Self {
            map_type: answer.map_type(),
            possible: answer.possible().collect(),
            distance: verdict.distance(answer),
        }
    }
}

/// The answers of one judge.
#[derive(Serialize)]
pub(crate) struct AnswersLine {
    read: AnswerLine,
    write: AnswerLine,
}

impl AnswersLine {
    pub(crate) fn new(verdict: &Verdict, class: TlpClass) -> Self {
        Self {
            read: AnswerLine::new(verdict, Access::Read, class),
            write: AnswerLine::new(verdict, Access::Write, class),
        }
    }
}

/// What each judge says of a pair.
#[derive(Serialize)]
pub(crate) struct PoliciesLine {
    linux: AnswersLine,
    next: AnswersLine,
    spec: AnswersLine,
}

impl PoliciesLine {
    pub(crate) fn new(verdicts: &[Verdict; 3], class: TlpClass) -> Self {
        let [linux, next, spec] = verdicts
            .each_ref()
            .map(|verdict| AnswersLine::new(verdict, class));
        Self { linux, next, spec }
    }
}
