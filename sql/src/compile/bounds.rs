//! TUMBLE and HOP: the windows a row falls in; and the order that event time needs.

use datafusion::sql::sqlparser::tokenizer::Span;
use engine::operator::hop::Hop;
use engine::operator::order::Order;
use engine::operator::tumble::{Tumble, WINDOW_END, WINDOW_START};
use engine::stream::{LATE, SPLIT};

use super::time::{Time, position, times};
use super::{Bounds, Compiler, Demand, Relation, Step};
use crate::check;
use crate::error::Error;
use crate::functions::window::Windowed;

impl Compiler<'_> {
    pub(super) fn windowed(&mut self, node: &Windowed, _: Demand) -> Step<Relation> {
        let known = times(&node.input, self.session);
        let at = position(&node.time, &node.input);
        let place = node.time.spans().first();
        let place = place.map_or_else(Span::empty, |span| check::tokenizer_span(&span));
        let time = at.and_then(|at| known.get(at).copied().flatten());
        let (Some(at), Some(time)) = (at, time) else {
            return Err(not_time("DESCRIPTOR", &node.time.name, place));
        };
        let mut relation = match time {
            Time::Event { .. } => {
                let mut relation = self.relation(&node.input, Demand::EventTime)?;
                self.order(&mut relation, at)?;
                relation
            }
            Time::Arrival => self.relation(&node.input, Demand::Any)?,
            _ => return Err(not_time("DESCRIPTOR", &node.time.name, place)),
        };
        self.free_names(&mut relation, &[WINDOW_START, WINDOW_END]);
        if node.slide.is_some() {
            self.prune(&mut relation);
        }
        let input = self.schema(&relation);
        let width = input.fields().len();
        let (time, size, offset) = (relation.columns[at], node.size, node.offset);
        let port = match node.slide {
            None => self.add(
                Tumble {
                    input,
                    time,
                    size,
                    offset,
                },
                relation.port,
            ),
            Some(slide) => self.add(
                Hop {
                    input,
                    time,
                    slide,
                    size,
                    offset,
                },
                relation.port,
            ),
        };
        let bounds = Bounds {
            start: width,
            end: width + 1,
        };
        let mut columns = relation.columns;
        columns.extend([width, width + 1]);
        Ok(Relation {
            port,
            columns,
            bounds: Some(bounds),
            ..relation
        })
    }

    /// Puts the rows in the order of a column of event time, once.
    pub(super) fn order(&mut self, relation: &mut Relation, column: usize) -> Step<()> {
        if relation.ordered {
            return Ok(());
        }
        let schema = self.schema(relation);
        let missing = |_| {
            let message = "event time is asked for above a UNION ALL that ran on arrival time";
            let hint = "use event time, or PROCTIME, in both places";
            Error::invalid(message, Span::empty()).hint(hint)
        };
        let split = schema.index_of(SPLIT).map_err(missing)?;
        let late = schema.index_of(LATE).map_err(missing)?;
        let time = relation.columns[column];
        let table = &self.graph.inputs[self.graph.table_of(relation.port)];
        let by_split = self.by_split.contains(&table.stream.name);
        let spec = Order {
            schema,
            time,
            split,
            late,
            by_split,
        };
        relation.port = self.add(spec, relation.port);
        relation.ordered = true;
        Ok(())
    }
}

/// A column that is not the time of its stream, where time must be named.
pub(super) fn not_time(clause: &str, name: &str, place: Span) -> Error {
    let message = format!("{clause} names '{name}', which is not the time of the stream");
    Error::invalid(message, place).hint(
        "name the column of WATERMARK FOR, PROCTIME, or window_end of a closed window, \
         unchanged through every sub-select",
    )
}
