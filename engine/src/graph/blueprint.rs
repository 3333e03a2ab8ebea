//! What the state of each part of a graph depends on, as data that outlives the graph: by it a
//! changed graph goes on with the state of another.
//!
//! A part's state follows from its own line and from everything that feeds it. So a part keeps its
//! state where all of that is equal, and what it then knows is what it would know had the changed
//! graph run from the beginning; a part that is new knows nothing yet. A step whose state consists of
//! pieces that do not depend on each other, as the functions of an OVER, keeps those that are the same.

use std::collections::HashMap;

use arrow::datatypes::Schema;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::plan::{About, column, table_lines};
use super::{Graph, Port, Target};

/// A table that is read, a step, or a table that is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What its own state depends on besides what feeds it; the first line names it.
    lines: Vec<String>,
    /// The columns that its readers see.
    columns: Vec<String>,
    /// What feeds it.
    inputs: Vec<Port>,
    /// Of a step whose state has pieces of its own: what all of it depends on, and each.
    pieces: Option<(String, Vec<String>)>,
}

/// The parts of a graph.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blueprint {
    /// The tables that are read.
    tables: Vec<Part>,
    /// The steps.
    steps: Vec<Part>,
    /// The tables that are written.
    targets: Vec<Part>,
}

/// From which parts of another graph those of this one take their state; `None`: they are new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Takeover {
    /// By table.
    pub tables: Vec<Option<usize>>,
    /// By step.
    pub steps: Vec<Option<usize>>,
    /// By step: where the pieces of its state are there, if it has such.
    pub pieces: Vec<Vec<Option<usize>>>,
    /// By target.
    pub targets: Vec<Option<usize>>,
}

/// The fingerprints of a graph's parts. Those of tables are of their own state: more of a table
/// counts for the steps above.
#[derive(Debug)]
struct Prints {
    tables: Vec<u128>,
    steps: Vec<u128>,
    /// Of steps, less the pieces of their state.
    bases: Vec<u128>,
    targets: Vec<u128>,
}

impl Part {
    /// Its name, or its line in EXPLAIN.
    #[must_use]
    pub fn name(&self) -> &str {
        self.lines.first().map_or("", String::as_str)
    }

    /// The pieces of its state that do not depend on each other, if it has such.
    #[must_use]
    pub fn pieces(&self) -> &[String] {
        self.pieces.as_ref().map_or(&[], |(_, pieces)| pieces)
    }

    /// What kind of step it is.
    fn kind(&self) -> &str {
        self.name().split(':').next().unwrap_or_default()
    }

    fn target(target: &Target) -> Self {
        let stream = &target.stream;
        let mut lines = vec![format!("sink {}", stream.name)];
        if !stream.key.is_empty() {
            lines.push(format!("{}: key {}", stream.name, stream.key.join(", ")));
        }
        let written = stream.schema.fields().iter().zip(&target.columns);
        lines.extend(written.map(|(field, expression)| {
            format!("{}: writes {} = {expression}", stream.name, column(field))
        }));
        Self {
            lines,
            columns: vec![],
            inputs: vec![target.from],
            pieces: None,
        }
    }
}

fn columns(schema: &Schema) -> Vec<String> {
    schema.fields().iter().map(|field| column(field)).collect()
}

fn fingerprint(lines: &[&[String]], inputs: &[u128]) -> u128 {
    // Nothing of them has a zero byte, so no two parts run into each other.
    let mut text = vec![];
    for line in lines.iter().flat_map(|lines| lines.iter()) {
        text.extend(line.as_bytes());
        text.push(0);
    }
    text.extend(inputs.iter().flat_map(|input| input.to_le_bytes()));
    xxh3_128(&text)
}

impl Graph {
    /// What the state of each part depends on.
    #[must_use]
    pub fn blueprint(&self) -> Blueprint {
        let tables = self.inputs.iter().map(|input| {
            let lines = table_lines(input).into_iter();
            let (state, seen): (Vec<_>, Vec<_>) = lines
                .filter(|(about, _)| *about != About::Archive)
                .partition(|(about, _)| *about != About::Columns);
            let both = state.iter().filter(|(about, _)| *about == About::Both);
            let seen = both.chain(&seen).map(|(_, line)| line.clone()).collect();
            Part {
                columns: seen,
                lines: state.into_iter().map(|(_, line)| line).collect(),
                inputs: vec![],
                pieces: None,
            }
        });
        let steps = self.nodes.iter().map(|node| {
            let (base, pieces) = (node.spec.base(), node.spec.parts());
            Part {
                lines: vec![node.spec.to_string()],
                columns: columns(&node.spec.schema()),
                inputs: node.inputs.clone(),
                pieces: (!pieces.is_empty()).then_some((base, pieces)),
            }
        });
        Blueprint {
            tables: tables.collect(),
            steps: steps.collect(),
            targets: self.targets.iter().map(Part::target).collect(),
        }
    }
}

impl Takeover {
    /// Every part from itself.
    #[must_use]
    pub fn of_itself(graph: &Graph) -> Self {
        let all = |count: usize| (0..count).map(Some).collect();
        Self {
            tables: all(graph.inputs.len()),
            steps: all(graph.nodes.len()),
            pieces: vec![vec![]; graph.nodes.len()],
            targets: all(graph.targets.len()),
        }
    }
}

impl Blueprint {
    /// The steps, in their order.
    #[must_use]
    pub fn steps(&self) -> &[Part] {
        &self.steps
    }

    /// The tables that are read.
    #[must_use]
    pub fn tables(&self) -> &[Part] {
        &self.tables
    }

    /// Whether a step reads another that is marked, or a table that is not known.
    pub(crate) fn is_fed_by(
        &self,
        step: usize,
        marked: &[bool],
        known: impl Fn(usize) -> bool,
    ) -> bool {
        let inputs = self.steps.get(step).map_or(&[][..], |part| &part.inputs);
        inputs.iter().any(|port| match port {
            Port::Input(table) => !known(*table),
            Port::Node(step) => marked.get(*step).is_some_and(|marked| *marked),
        })
    }

    fn prints(&self) -> Prints {
        let seen = self.tables.iter();
        let seen: Vec<u128> = seen
            .map(|part| fingerprint(&[&part.lines, &part.columns], &[]))
            .collect();
        let (mut steps, mut bases): (Vec<u128>, Vec<u128>) = (vec![], vec![]);
        let fed_by = |part: &Part, steps: &[u128]| -> Vec<u128> {
            let input = |port: &Port| match port {
                Port::Input(table) => seen.get(*table),
                Port::Node(step) => steps.get(*step),
            };
            part.inputs.iter().filter_map(input).copied().collect()
        };
        let of = |part: &Part, steps: &[u128]| {
            fingerprint(&[&part.lines, &part.columns], &fed_by(part, steps))
        };
        for part in &self.steps {
            let inputs = fed_by(part, &steps);
            let whole = fingerprint(&[&part.lines, &part.columns], &inputs);
            bases.push(match &part.pieces {
                None => whole,
                Some((base, _)) => fingerprint(&[std::slice::from_ref(base)], &inputs),
            });
            steps.push(whole);
        }
        let own = |part: &Part| fingerprint(&[&part.lines], &[]);
        Prints {
            tables: self.tables.iter().map(own).collect(),
            targets: self.targets.iter().map(|part| of(part, &steps)).collect(),
            steps,
            bases,
        }
    }

    /// How this graph takes over the state of another.
    #[must_use]
    pub fn take_over(&self, from: &Self) -> Takeover {
        let (own, others) = (self.prints(), from.prints());
        let places = |own: &[u128], others: &[u128]| {
            let places = others.iter().enumerate();
            let places: HashMap<u128, usize> = places.map(|(at, print)| (*print, at)).collect();
            own.iter().map(|print| places.get(print).copied()).collect()
        };
        let mut steps: Vec<Option<usize>> = places(&own.steps, &others.steps);
        // Then those of which only pieces differ, each from one that nobody has taken.
        for (at, part) in self.steps.iter().enumerate() {
            if steps[at].is_none() && part.pieces.is_some() {
                let mut free = (0..others.bases.len()).filter(|from| !steps.contains(&Some(*from)));
                steps[at] = free.find(|from| others.bases[*from] == own.bases[at]);
            }
        }
        let pieces = self.steps.iter().zip(&steps).map(|(part, taken)| {
            let old = taken.and_then(|taken| from.steps.get(taken));
            let old = old.map_or(&[][..], Part::pieces);
            let place = |piece| old.iter().position(|of| of == piece);
            part.pieces().iter().map(place).collect()
        });
        Takeover {
            tables: places(&own.tables, &others.tables),
            pieces: pieces.collect(),
            steps,
            targets: places(&own.targets, &others.targets),
        }
    }

    /// Why a step of another graph has no successor here: what of it, or of what feeds it, differs
    /// from the step here that is the most like it.
    #[must_use]
    pub fn change_of(&self, from: &Self, step: usize, taken: &Takeover) -> String {
        let Some(part) = from.steps.get(step) else {
            return String::new();
        };
        let free = self.steps.iter().enumerate().filter(|(at, other)| {
            taken.steps.get(*at).is_some_and(Option::is_none) && other.kind() == part.kind()
        });
        let common = |other: &Part| {
            let pairs = part.name().bytes().zip(other.name().bytes());
            pairs.take_while(|(a, b)| a == b).count()
        };
        let alike = free.max_by_key(|(at, other)| (common(other), usize::MAX - at));
        match alike {
            None => "it is not there any more".to_owned(),
            Some((at, _)) => self.difference(from, Port::Node(at), Port::Node(step)),
        }
    }

    /// Why a table of another graph has none here that goes on with it.
    #[must_use]
    pub fn change_of_table(&self, from: &Self, table: usize) -> String {
        let Some(part) = from.tables.get(table) else {
            return String::new();
        };
        let name = |part: &Part| part.name().split(" (").next().map(str::to_owned);
        match self.tables.iter().find(|other| name(other) == name(part)) {
            None => "it is not read any more".to_owned(),
            Some(other) => first_difference(&part.lines, &other.lines),
        }
    }

    fn at(&self, port: Port) -> Option<&Part> {
        match port {
            Port::Input(table) => self.tables.get(table),
            Port::Node(step) => self.steps.get(step),
        }
    }

    /// The first thing in which two parts differ, from the upper one down.
    fn difference(&self, from: &Self, here: Port, there: Port) -> String {
        let (Some(new), Some(old)) = (self.at(here), from.at(there)) else {
            return "what feeds it has changed".to_owned();
        };
        if new.lines != old.lines {
            return first_difference(&old.lines, &new.lines);
        }
        let mut inputs = old.inputs.iter().zip(&new.inputs);
        let (own, others) = (self.prints(), from.prints());
        let print = |prints: &Prints, of: &Self, port: Port| match port {
            Port::Node(step) => prints.steps.get(step).copied(),
            Port::Input(table) => {
                let table = of.tables.get(table);
                table.map(|part| fingerprint(&[&part.lines, &part.columns], &[]))
            }
        };
        let changed =
            inputs.find(|(old, new)| print(&own, self, **new) != print(&others, from, **old));
        match changed {
            Some((old, new)) => self.difference(from, *new, *old),
            None if new.inputs.len() != old.inputs.len() => {
                format!(
                    "{} has {} inputs, not {}",
                    old.name(),
                    new.inputs.len(),
                    old.inputs.len()
                )
            }
            None => first_difference(&old.columns, &new.columns),
        }
    }
}

/// The first line in which two parts differ.
fn first_difference(old: &[String], new: &[String]) -> String {
    let longest = old.len().max(new.len());
    let differs = (0..longest).find(|at| old.get(*at) != new.get(*at));
    let line = |lines: &[String]| {
        let line = differs.and_then(|at| lines.get(at));
        line.map_or("nothing", String::as_str).to_owned()
    };
    format!("'{}' is '{}' now", line(old), line(new))
}
