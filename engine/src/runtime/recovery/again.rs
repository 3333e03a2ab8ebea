//! A source that is asked again for what the journal says was read of it.

use std::collections::{BTreeMap, VecDeque};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;

use super::stopped;
use crate::error::{Error, Result};
use crate::runtime::patience::patiently;
use crate::runtime::source_loop::SourceLoop;
use crate::source::{Polled, Position, Split};

/// A source that is asked again, split by split.
pub(super) struct Again<'a> {
    source: &'a mut SourceLoop,
    opened: bool,
    /// Where the journal ends: what lies behind is not kept, however far a split runs ahead.
    ends: Position,
    /// What was handed over of splits that were not wanted yet.
    waiting: BTreeMap<Split, VecDeque<Polled>>,
}

impl<'a> Again<'a> {
    pub(super) fn new(source: &'a mut SourceLoop, ends: Position) -> Self {
        Self {
            source,
            opened: false,
            ends,
            waiting: BTreeMap::new(),
        }
    }

    /// The records of a split from where it was left up to `to`, `wanted` of them; fewer where the
    /// split no longer has them all.
    pub(super) async fn read(&mut self, split: &Split, to: i64, wanted: usize) -> Result<Polled> {
        if !self.opened {
            self.source.source.rereading(true);
            self.source.open().await?.ok_or_else(stopped)?;
            self.opened = true;
        }
        let mut parts: Vec<Polled> = vec![];
        let (mut count, mut reached) = (0, false);
        while count < wanted && !reached {
            let next = self.waiting.get_mut(split).and_then(VecDeque::pop_front);
            let Some(polled) = next else {
                self.poll(split).await?;
                continue;
            };
            let (before, after) = cut(polled, to);
            count += before.rows.num_rows() + before.rejected.len();
            reached = before.next_offset >= to;
            parts.push(before);
            if let Some(after) = after {
                self.waiting
                    .entry(split.clone())
                    .or_default()
                    .push_front(after);
            }
        }
        join(split, &parts, to)
    }

    async fn poll(&mut self, split: &Split) -> Result<()> {
        let SourceLoop {
            source, patience, ..
        } = &mut *self.source;
        let polled = patiently!(patience, source.next()).ok_or_else(stopped)?;
        let polled = polled.ok_or_else(|| {
            Error::corrupt(format!(
                "the input ends before what the log says was read of split {split}"
            ))
        })?;
        let end = self.ends.get(&polled.split).copied().unwrap_or(i64::MIN);
        let (polled, _) = cut(polled, end);
        let queue = self.waiting.entry(polled.split.clone()).or_default();
        let reaches = |last: &Polled| last.next_offset >= polled.next_offset;
        if !polled.is_empty() || !queue.back().is_some_and(reaches) {
            queue.push_back(polled);
        }
        Ok(())
    }
}

/// Cuts a poll in front of an offset; the second part is there if something follows.
fn cut(polled: Polled, at: i64) -> (Polled, Option<Polled>) {
    if polled.next_offset <= at {
        return (polled, None);
    }
    let row = polled.offsets.partition_point(|offset| *offset < at);
    let rejected = polled
        .rejected
        .partition_point(|rejected| rejected.offset < at);
    let rows = polled.rows.num_rows();
    let part = |from: usize, to: usize, rejected: &[_], next_offset| Polled {
        split: polled.split.clone(),
        rows: polled.rows.slice(from, to - from),
        offsets: polled.offsets.slice(from, to - from),
        record_times: polled
            .record_times
            .as_ref()
            .map(|times| times.slice(from, to - from)),
        rejected: rejected.to_vec(),
        next_offset,
    };
    let (before, after) = polled.rejected.split_at(rejected);
    (
        part(0, row, before, at),
        Some(part(row, rows, after, polled.next_offset)),
    )
}

/// One poll of several, in order.
fn join(split: &Split, parts: &[Polled], next_offset: i64) -> Result<Polled> {
    let first = parts.first();
    let schema = first.map(|polled| polled.rows.schema());
    let schema = schema.ok_or_else(|| Error::corrupt("an entry of the journal is empty"))?;
    let rows: Vec<&RecordBatch> = parts.iter().map(|polled| &polled.rows).collect();
    let all_timed = parts.iter().all(|polled| polled.record_times.is_some());
    let times = || {
        parts
            .iter()
            .flat_map(|p| p.record_times.iter().flatten().copied())
    };
    let offsets = parts
        .iter()
        .flat_map(|polled| polled.offsets.iter().copied());
    Ok(Polled {
        split: split.clone(),
        rows: concat_batches(&schema, rows)?,
        offsets: offsets.collect(),
        record_times: all_timed.then(|| times().collect()),
        rejected: parts
            .iter()
            .flat_map(|polled| polled.rejected.clone())
            .collect(),
        next_offset,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::runtime::patience::Patience;
    use crate::runtime::status::SharedStatus;
    use crate::runtime::stop::Stop;
    use crate::source::Source;

    /// What `script` says by split and offsets, then silence.
    struct Script(VecDeque<(&'static str, std::ops::Range<i64>, Vec<i64>)>);

    #[async_trait::async_trait]
    impl Source for Script {
        async fn splits(&mut self) -> Result<Vec<Split>> {
            Ok(vec![Split::new("a"), Split::new("b")])
        }

        async fn seek(&mut self, _: &Position) -> Result<()> {
            Ok(())
        }

        async fn next(&mut self) -> Result<Option<Polled>> {
            let Some((split, range, gone)) = self.0.pop_front() else {
                return std::future::pending().await;
            };
            let next_offset = range.end;
            let offsets: Vec<i64> = range.filter(|offset| !gone.contains(offset)).collect();
            let schema = Schema::new(vec![Field::new("n", DataType::Int64, true)]);
            let column = Arc::new(Int64Array::from(offsets.clone()));
            Ok(Some(Polled {
                split: Split::new(split),
                rows: RecordBatch::try_new(Arc::new(schema), vec![column])?,
                offsets: offsets.into(),
                record_times: None,
                rejected: vec![],
                next_offset,
            }))
        }

        fn repeatable(&self) -> bool {
            true
        }
    }

    fn source(script: Vec<(&'static str, std::ops::Range<i64>, Vec<i64>)>) -> SourceLoop {
        let (stopper, stop) = Stop::channel();
        std::mem::forget(stopper);
        SourceLoop {
            table: 0,
            source: Box::new(Script(script.into())),
            position: Position::new(),
            patience: Patience::new("t", &SharedStatus::default(), &stop),
        }
    }

    #[tokio::test]
    async fn a_split_that_runs_ahead_is_kept_up_to_the_end_of_the_journal() {
        let ahead = (0..1_000).map(|poll| ("b", poll * 10..poll * 10 + 10, vec![]));
        let mut script: Vec<_> = ahead.collect();
        script.push(("a", 0..4, vec![]));
        let mut source = source(script);
        let (a, b) = (Split::new("a"), Split::new("b"));
        let ends = Position::from([(a.clone(), 3), (b.clone(), 15)]);
        let mut again = Again::new(&mut source, ends);
        let polled = again.read(&a, 3, 3).await.unwrap();
        assert_eq!(polled.offsets.to_vec(), [0, 1, 2]);
        let waiting = again.waiting[&b].iter();
        let rows: Vec<usize> = waiting.map(|polled| polled.offsets.len()).collect();
        assert_eq!(rows, [10, 5]);
        let polled = again.read(&b, 15, 15).await.unwrap();
        assert_eq!(polled.offsets.to_vec(), (0..15).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn what_was_compacted_away_is_not_waited_for() {
        let gone = (10..20).collect();
        let mut source = source(vec![("a", 10..21, gone)]);
        let a = Split::new("a");
        let ends = Position::from([(a.clone(), 21)]);
        let mut again = Again::new(&mut source, ends);
        let read = again.read(&a, 21, 11);
        let polled = tokio::time::timeout(std::time::Duration::from_secs(10), read).await;
        assert_eq!(polled.unwrap().unwrap().offsets.to_vec(), [20]);
    }
}
