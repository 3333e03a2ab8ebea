//! UNION ALL: merged by event time where a step above needs it, else by arrival.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::logical_expr::{LogicalPlan, Union};
use datafusion::sql::sqlparser::tokenizer::Span;
use engine::operator;
use engine::operator::union::TimeDomain;
use engine::stream::ARRIVED_AT;

use super::time::{Time, times};
use super::{Columns, Compiler, Demand, Relation, Step};
use crate::error::Error;

impl Compiler<'_> {
    pub(super) fn union(&mut self, union: &Union, demand: Demand) -> Step<Relation> {
        let plan = LogicalPlan::Union(union.clone());
        let event = times(&plan, self.session)
            .into_iter()
            .enumerate()
            .find_map(|(at, time)| match time {
                Some(Time::Event { delay }) => Some((at, TimeDomain::Event { delay })),
                _ => None,
            });
        let mut branches = vec![];
        for input in &union.inputs {
            branches.push(self.relation(input, demand)?);
        }
        let schemas: Vec<_> = branches.iter().map(|branch| self.schema(branch)).collect();
        let arrived = schemas
            .iter()
            .all(|schema| schema.index_of(ARRIVED_AT).is_ok());
        let unordered = arrived && branches.iter().all(|branch| !branch.ordered);
        let (time, domain) = match event {
            // One branch in event-time order is enough to order them all.
            Some((at, domain)) if demand == Demand::EventTime || !unordered => {
                for branch in &mut branches {
                    self.order(branch, at)?;
                }
                (Some(at), domain)
            }
            _ if unordered => (None, TimeDomain::Arrival),
            _ => {
                let message = "the branches of UNION ALL have no time in common";
                return Err(Error::invalid(message, Span::empty()).hint(
                    "select the watermark column, or window_end, at one place in every branch",
                ));
            }
        };
        // Splits of different tables do not compare, so they end here.
        let hidden: &[&str] = if arrived { &[ARRIVED_AT] } else { &[] };
        let mut fields: Vec<Field> = vec![];
        for field in union.schema.fields() {
            let taken = fields.iter().map(|field| field.name().as_str());
            let name = super::unique(field.name(), taken.chain(hidden.iter().copied()));
            fields.push(field.as_ref().clone().with_name(name).with_nullable(true));
        }
        let width = fields.len();
        let system = engine::stream::system_fields();
        fields.extend(
            system
                .into_iter()
                .filter(|field| hidden.contains(&field.name().as_str())),
        );
        let schema = Arc::new(Schema::new(fields));
        let mut ports = vec![];
        for branch in &branches {
            let mut columns = Columns::new();
            let batch = self.schema(branch);
            let system = hidden.iter().filter_map(|name| batch.index_of(name).ok());
            for index in branch.columns.iter().copied().chain(system) {
                columns.pass(&batch, index);
            }
            columns.fields = schema.fields().to_vec();
            ports.push(self.project(branch, columns).port);
        }
        let ordered = time.is_some();
        let time = time.unwrap_or(width);
        let inputs = ports.len();
        let spec = operator::union::Union {
            schema,
            inputs,
            time,
            domain,
        };
        let port = self.graph.add(Arc::new(spec), ports);
        let columns = (0..width).collect();
        Ok(Relation {
            port,
            columns,
            ordered,
            keys: vec![],
            bounds: None,
        })
    }
}
