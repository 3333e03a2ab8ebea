//! From what a client asks for to a view: columns by name, a condition compiled once.

use std::sync::Arc;

use sql::Filter;
use tokio::task::spawn_blocking;

use super::hub::Hub;
use super::protocol::{Fault, Subscribe};
use super::view::{Choice, Mode, View, shown};

/// What a subscription chooses of a table; the error names the nearest column.
pub(super) fn choice(hub: &Hub, request: &Subscribe) -> Result<Choice, Fault> {
    let table = hub.table();
    let all = shown(&table.schema);
    let mut columns = match &request.columns {
        None => all.clone(),
        Some(names) if names.is_empty() => {
            let message = "no column is chosen; leave columns out for all of them";
            return Err(Fault::new("invalid", message));
        }
        Some(names) => {
            let position = |name: &String| {
                let found = table.schema.index_of(name).ok();
                let found = found.filter(|column| all.contains(column));
                found.ok_or_else(|| {
                    let known = all
                        .iter()
                        .map(|column| table.schema.field(*column).name().as_str());
                    let span = sql::error::nowhere();
                    Fault::new(
                        "not-found",
                        sql::Error::unknown("column", name, span, known).to_string(),
                    )
                })
            };
            names.iter().map(position).collect::<Result<_, _>>()?
        }
    };
    if request.mode == Mode::Changes {
        if table.key.is_empty() {
            let stream = &table.stream;
            return Err(Fault::new(
                "invalid",
                format!("stream '{stream}' has no key, so its rows do not change; leave mode out"),
            ));
        }
        columns.extend(table.key.iter().filter(|column| all.contains(column)));
    }
    columns.sort_unstable();
    columns.dedup();
    let condition = request.condition.as_deref().map(str::trim);
    Ok(Choice {
        condition: condition.filter(|text| !text.is_empty()).map(str::to_owned),
        columns,
        mode: request.mode,
    })
}

/// The view of a choice: that of the channel which has it, or a new one.
pub(super) async fn view(hub: &Hub, choice: &Choice) -> Result<Arc<View>, Fault> {
    if let Some(view) = hub.view_of(choice) {
        return Ok(view);
    }
    let (table, choice) = (hub.table().clone(), choice.clone());
    // Planning takes milliseconds, which the other connections of this thread should not wait.
    let compiled = spawn_blocking(move || {
        let filter = choice.condition.as_deref();
        let filter = filter
            .map(|text| Filter::compile(text, &table.schema))
            .transpose();
        let filter = filter.map_err(Fault::of_condition)?;
        View::new(&table.schema, &table.key, &choice, filter).map_err(|error| Fault::from(&error))
    });
    let gone = |_| Fault::new("internal", "the condition was not compiled");
    compiled.await.map_err(gone)?.map(Arc::new)
}
