//! A table: its source, its computed columns, its watermark.

use datafusion::logical_expr::TableScan;
use datafusion::sql::sqlparser::tokenizer::Span;
use engine::graph::{EventTime, Input};

use super::{Compiler, Relation, Step};
use crate::adapt;
use crate::error::Error;

impl Compiler<'_> {
    pub(super) fn scan(&mut self, scan: &TableScan) -> Step<Relation> {
        let name = scan.table_name.table();
        let session = self.session;
        let (table, resolved) = session
            .table(name)
            .ok_or_else(|| Error::unknown("table", name, Span::empty(), session.relations()))?;
        let columns = resolved.columns.iter().map(|expr| {
            let adapted = adapt::expression(&session.state, expr, &resolved.source);
            adapted.map_err(|error| self.failed(&error, super::span_of(expr)))
        });
        let columns = columns.collect::<Step<Vec<_>>>()?;
        let event_time = table.watermark.as_ref().map(|watermark| {
            let column = resolved.schema.index_of(&watermark.column).map_err(|_| {
                let known = resolved
                    .schema
                    .fields()
                    .iter()
                    .map(|field| field.name().as_str());
                Error::unknown("column", &watermark.column, Span::empty(), known)
            })?;
            Ok::<_, Error>(EventTime {
                column,
                delay: watermark.delay,
            })
        });
        let port = self.graph.add_input(Input {
            stream: table.stream.clone(),
            schema: std::sync::Arc::clone(&resolved.schema),
            columns,
            event_time: event_time.transpose()?,
            timing: table.timing,
            archive: table.archive.clone(),
        });
        let width = resolved.schema.fields().len();
        let columns = scan
            .projection
            .clone()
            .unwrap_or_else(|| (0..width).collect());
        Ok(Relation {
            port,
            columns,
            ordered: false,
            keys: vec![],
            bounds: None,
        })
    }
}
