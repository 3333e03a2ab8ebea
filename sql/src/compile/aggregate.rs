//! GROUP BY in a window: the key's number, then one row per key when the window closes.

use datafusion::common::Column;
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::{self, Expr};
use datafusion::sql::sqlparser::tokenizer::Span;
use engine::operator;
use engine::operator::aggregate::TimeDomain;
use engine::operator::ttl::Ttl;

use super::time::{Time, column_time, times};
use super::{Bounds, Compiler, Demand, Keyed, Relation, Step, span_of, unaliased};
use crate::adapt;
use crate::error::Error;

/// Where a column of the plan's GROUP BY comes out.
enum Group {
    Key(usize),
    Start,
    End,
}

/// An aggregate function over the batches' columns.
struct Call {
    function: AggregateFunction,
    /// What the plan calls it.
    name: String,
    /// Where it stands in the text.
    place: Span,
}

impl Compiler<'_> {
    pub(super) fn aggregate(&mut self, node: &logical_expr::Aggregate) -> Step<Relation> {
        let known = times(&node.input, self.session);
        let (mut groups, mut keys, mut domain) = (vec![], vec![], None);
        for expr in &node.group_expr {
            match column_time(expr, &node.input, &known) {
                Some(Time::Start { domain: of, .. }) => {
                    domain = Some(of);
                    groups.push(Group::Start);
                }
                Some(Time::End { domain: of }) => {
                    domain = Some(of);
                    groups.push(Group::End);
                }
                _ => {
                    groups.push(Group::Key(keys.len()));
                    keys.push(unaliased(expr));
                }
            }
        }
        // What is wrong below says more than the missing window it leads to.
        let mut relation = self.relation(&node.input, Demand::Any)?;
        let domain = domain.ok_or_else(|| unbounded(node))?;
        if relation.bounds.is_none() {
            return Err(unbounded(node));
        }
        let mut functions = vec![];
        for expr in &node.aggr_expr {
            let function = self.aggregated(&relation, node, expr, &known)?;
            functions.push(Call {
                function,
                name: expr.schema_name().to_string(),
                place: span_of(expr),
            });
        }
        let key_columns = self.inputs(&mut relation, node, &keys, &mut functions)?;
        let bounds = relation.bounds.ok_or_else(|| unbounded(node))?;
        // Once the last window of a key has closed, nothing of it is left but its number.
        let ttl = self.ttl(domain, 0).map(|ttl| (bounds.end, ttl));
        let id = self.key(&mut relation, &key_columns, ttl)?;
        let port = self.closed(&relation, (id, &key_columns, bounds), domain, functions)?;
        let first = key_columns.len();
        let mut columns: Vec<usize> = groups
            .iter()
            .map(|group| match group {
                Group::Key(at) => *at,
                Group::Start => first,
                Group::End => first + 1,
            })
            .collect();
        columns.extend((0..node.aggr_expr.len()).map(|at| first + 2 + at));
        Ok(Relation {
            port,
            columns,
            ordered: true,
            keys: vec![],
            bounds: None,
        })
    }

    /// The aggregate function of an expression, over the batches' columns.
    fn aggregated(
        &self,
        relation: &Relation,
        node: &logical_expr::Aggregate,
        expr: &Expr,
        known: &[Option<Time>],
    ) -> Step<AggregateFunction> {
        let Expr::AggregateFunction(function) = unaliased(expr) else {
            let message = format!("{expr} is no aggregate function");
            return Err(Error::invalid(message, span_of(expr)));
        };
        let params = &function.params;
        for sort in &params.order_by {
            let time = column_time(&sort.expr, &node.input, known);
            let is_time = matches!(time, Some(Time::Event { delay: 0 } | Time::Arrival));
            let (name, place) = (function.func.name(), span_of(&sort.expr));
            if !is_time {
                let message = format!("{name} is ordered by {}, not by time", sort.expr);
                let hint = "order by the time of the stream, or leave ORDER BY out";
                return Err(Error::invalid(message, place).hint(hint));
            }
            if !sort.asc {
                let message = format!("{name} runs forward in time, not DESC");
                let hint = match name {
                    "first_value" => "write LAST_VALUE(… ORDER BY time)",
                    "last_value" => "write FIRST_VALUE(… ORDER BY time)",
                    _ => "order by time ascending, or leave ORDER BY out",
                };
                return Err(Error::invalid(message, place).hint(hint));
            }
        }
        let schema = node.input.schema();
        let args = params
            .args
            .iter()
            .map(|arg| self.bind(relation, schema, arg));
        let filter = params
            .filter
            .as_deref()
            .map(|expr| self.bind(relation, schema, expr));
        Ok(AggregateFunction {
            func: std::sync::Arc::clone(&function.func),
            params: AggregateFunctionParams {
                args: args.collect::<Step<_>>()?,
                filter: filter.transpose()?.map(Box::new),
                order_by: vec![],
                ..params.clone()
            },
        })
    }

    /// Makes the keys, and what the functions compute on, columns: rows that fail are rejected
    /// one by one there. Gives the positions of the keys.
    fn inputs(
        &mut self,
        relation: &mut Relation,
        node: &logical_expr::Aggregate,
        keys: &[&Expr],
        functions: &mut [Call],
    ) -> Step<Vec<usize>> {
        let mut exprs = vec![];
        for key in keys {
            let bound = self.bind(relation, node.input.schema(), key)?;
            exprs.push((bound, key.schema_name().to_string()));
        }
        for call in functions.iter_mut() {
            exprs.extend(parts(&mut call.function).map(|expr| (expr.clone(), expr.to_string())));
        }
        // Nothing else of the rows is read above.
        let kept = self.kept(relation, [], &exprs);
        let positions = self.materialise(relation, &exprs, &kept)?;
        let schema = self.schema(relation);
        let computed = functions
            .iter_mut()
            .flat_map(|call| parts(&mut call.function));
        for (expr, position) in computed.zip(&positions[keys.len()..]) {
            *expr = Expr::Column(Column::new_unqualified(schema.field(*position).name()));
        }
        Ok(positions[..keys.len()].to_vec())
    }

    /// The step that gives out the closed windows.
    fn closed(
        &mut self,
        relation: &Relation,
        (key, key_columns, bounds): (usize, &[usize], Bounds),
        domain: TimeDomain,
        functions: Vec<Call>,
    ) -> Step<engine::graph::Port> {
        let input = self.schema(relation);
        let taken = key_columns.iter().chain([&bounds.start, &bounds.end]);
        let mut taken: Vec<String> = taken.map(|at| input.field(*at).name().clone()).collect();
        let mut aggregates = vec![];
        for Call {
            function,
            name,
            place,
        } in functions
        {
            let adapted = adapt::aggregate(&self.session.state, &function, &input);
            let adapted = adapted.map_err(|error| self.failed(&error, place))?;
            let name = super::unique(&name, taken.iter().map(String::as_str));
            taken.push(name.clone());
            aggregates.push((name, adapted));
        }
        let spec = operator::aggregate::Aggregate {
            input,
            key,
            key_columns: key_columns.to_vec(),
            window_start: bounds.start,
            window_end: bounds.end,
            domain,
            aggregates,
            forgetting: self.ttl(domain, 0).is_some(),
        };
        Ok(self.add(spec, relation.port))
    }

    /// The position of the key's number, which one step gives to all that are keyed alike.
    /// Where keys are forgotten, those must also measure by the same time.
    pub(super) fn key(
        &mut self,
        relation: &mut Relation,
        columns: &[usize],
        ttl: Option<(usize, Ttl)>,
    ) -> Step<usize> {
        let alike = |keyed: &&Keyed| keyed.columns == columns && keyed.ttl == ttl;
        if let Some(keyed) = relation.keys.iter().find(alike) {
            return Ok(keyed.id);
        }
        let input = self.schema(relation);
        let id = input.fields().len();
        let taken = input.fields().iter().map(|field| field.name().as_str());
        let name = super::unique("_key", taken);
        let columns = columns.to_vec();
        let spec = operator::key::Key::new(std::sync::Arc::clone(&input), columns.clone(), &name);
        let mut spec = spec.map_err(|error| Error::invalid(error.to_string(), Span::empty()))?;
        if let Some((time, ttl)) = ttl {
            spec = spec.forgetting(time, Some(ttl));
        }
        relation.port = self.add(spec, relation.port);
        relation.keys.push(Keyed { columns, id, ttl });
        Ok(id)
    }

    /// The job's `state.ttl` for steps on this time, which is complete only `lag` behind what the
    /// domain says.
    pub(super) fn ttl(&self, domain: TimeDomain, lag: i64) -> Option<Ttl> {
        let length = self.session.catalog.state_ttl?;
        Some(Ttl {
            length: i64::try_from(length.as_nanos()).unwrap_or(i64::MAX),
            domain,
            lag,
        })
    }
}

/// What a function computes on, constants left out.
fn parts(function: &mut AggregateFunction) -> impl Iterator<Item = &mut Expr> {
    let AggregateFunctionParams { args, filter, .. } = &mut function.params;
    let parts = args.iter_mut().chain(filter.as_deref_mut());
    parts.filter(|expr| !matches!(expr, Expr::Literal(..)))
}

fn unbounded(node: &logical_expr::Aggregate) -> Error {
    let place = node.group_expr.iter().chain(&node.aggr_expr).map(span_of);
    let place = place.into_iter().find(|place| *place != Span::empty());
    let message = "an aggregate without a window never has a final value";
    Error::invalid(message, place.unwrap_or_else(Span::empty)).hint(
        "read FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE) and GROUP BY \
         window_start, window_end; or use OVER (PARTITION BY … ORDER BY ts)",
    )
}
