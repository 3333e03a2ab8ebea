//! A start from recordings: the state is what the recorded input makes of a fresh shard. It comes
//! into the log as the snapshot of the last committed epoch, and recovery takes it from there.
//!
//! The newest epochs are in the log and in no file of a recording yet: their rows are taken out of
//! the records. What leaves the graph meanwhile was written before, and is dropped.

use std::collections::VecDeque;

use arrow::array::RecordBatch;
use async_trait::async_trait;

use super::patience::patiently;
use super::recovery::{Past, stopped};
use super::replay::Merged;
use super::shard::Shard;
use crate::error::{Error, Result};
use crate::intake::Arrival;
use crate::intake::recording::Reader;
use crate::log::record::StoredSnapshot;
use crate::sink::Epoch;

/// The recording of a table.
pub struct Recorded {
    /// Its rows, from the beginning.
    pub reader: Box<dyn Reader>,
    /// The last epoch that is in it.
    pub through: Epoch,
}

impl std::fmt::Debug for Recorded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorded")
            .field("through", &self.through)
            .finish_non_exhaustive()
    }
}

/// Replaces the state after the last committed epoch by that of the recordings, one a table, which
/// together with the log must have all that was committed. `fresh` makes shards of the job's graph.
pub(super) async fn warm_up(
    past: &mut Past<'_>,
    committed: Epoch,
    fresh: impl Fn() -> Result<Shard>,
    recordings: Vec<Recorded>,
) -> Result<()> {
    let begun_from = patiently!(past.patience, past.log.begun_from()).ok_or_else(stopped)?;
    if let Some(savepoint) = begun_from {
        return Err(Error::invalid(format!(
            "the job began from savepoint '{savepoint}', and its recordings have nothing of before: \
             start it from 'state', 'empty', or that savepoint"
        )));
    }
    let readers = with_newest(past, committed, recordings).await?;
    let mut shard = fresh()?;
    let (mut merged, mut rows) = (Merged::new(readers), 0);
    while let Some(arrival) = merged.next().await? {
        if let Arrival::Records(records) = &arrival {
            rows += records.count();
        }
        shard.arrive(arrival)?;
        drop(shard.take_emitted());
    }
    if rows == 0 {
        return Err(Error::invalid(
            "nothing is recorded that the job could start from: start it from 'state' or 'empty'",
        ));
    }
    let mut snapshot = shard.snapshot()?;
    if let Some(mut before) = before(past, committed).await? {
        // What is shown live comes of the same rows.
        snapshot.taps = std::mem::take(&mut before.shard.taps);
        check_end(&shard, fresh()?, before)?;
    }
    let epoch = committed;
    let stored = StoredSnapshot {
        epoch,
        shard: snapshot,
    };
    past.keep(epoch, stored.encode()?).await?;
    tracing::info!(rows, %epoch, "the state comes from the recordings");
    Ok(())
}

/// The newest state that the log has, where nothing has come since and it can be read. One that
/// cannot is what recordings are there for.
async fn before(past: &mut Past<'_>, committed: Epoch) -> Result<Option<StoredSnapshot>> {
    let contents = past.contents(committed).await?;
    let Some(newest) = contents.snapshots.last().copied() else {
        return Ok(None);
    };
    let since = past.history(&contents, newest, committed).await?;
    for epoch in since.epochs {
        if !past.read(epoch).await?.journal.is_empty() {
            return Ok(None);
        }
    }
    Ok(past.log.snapshot(newest).await.ok())
}

/// A recording that lacks its end would have rows come twice: those that were read since.
fn check_end(shard: &Shard, mut known: Shard, before: StoredSnapshot) -> Result<()> {
    let of_recording = shard.intake().positions();
    if known.restore(before.shard).is_err() || known.intake().positions() == of_recording {
        return Ok(());
    }
    Err(Error::corrupt(
        "the recordings do not end where the job did: files are missing or were added; restore \
         them, or start the job from 'state' or 'empty'",
    ))
}

/// The recordings, each with what the log has after its end.
async fn with_newest(
    past: &mut Past<'_>,
    committed: Epoch,
    recordings: Vec<Recorded>,
) -> Result<Vec<Box<dyn Reader>>> {
    let mut newest = vec![VecDeque::new(); recordings.len()];
    let through: Vec<Epoch> = recordings.iter().map(|table| table.through).collect();
    let first = through.iter().min().copied().unwrap_or(committed);
    let contents = past.contents(committed).await?;
    let history = past.history(&contents, first, committed).await?;
    let follows = history.follows;
    for epoch in history.epochs {
        for (table, batches) in past.read(epoch).await?.kept {
            if through.get(table).is_some_and(|through| epoch > *through) {
                newest[table].extend(batches);
            }
        }
    }
    if follows > first {
        return Err(Error::corrupt(format!(
            "epoch {follows} is neither in the recordings nor in the log: restore the files of the \
             recordings, or start the job from 'state' or 'empty'"
        )));
    }
    let chained = recordings.into_iter().zip(newest);
    Ok(chained
        .map(|(Recorded { reader, .. }, newest)| {
            let reader = Some(reader);
            Box::new(Chained { reader, newest }) as Box<dyn Reader>
        })
        .collect())
}

/// A recording and what follows it.
struct Chained {
    reader: Option<Box<dyn Reader>>,
    newest: VecDeque<RecordBatch>,
}

#[async_trait]
impl Reader for Chained {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(reader) = &mut self.reader {
            if let Some(rows) = reader.next().await? {
                return Ok(Some(rows));
            }
            self.reader = None;
        }
        Ok(self.newest.pop_front())
    }
}
