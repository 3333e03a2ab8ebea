//! Where reading starts: at the offsets of the log, else where `scan.startup.mode` says.

use engine::{Error, Position, Result, Split};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use super::Startup;
use super::client::{REQUEST_TIMEOUT, Shared, failed};
use super::source::{Settings, split};

/// Where one partition starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Start {
    /// The partition's number.
    pub(super) partition: i32,
    /// The split's name.
    pub(super) split: Split,
    /// The first offset to read.
    pub(super) from: i64,
    /// The offset after the last one there is.
    pub(super) end: i64,
    /// Whether `from` was found here rather than in the log.
    pub(super) fresh: bool,
}

/// Whether a split is a partition of the topic: 'a-00001' is not one of the topic 'a-b'.
pub(super) fn is_of(split: &Split, topic: &str) -> bool {
    let number = split.0.strip_prefix(topic);
    let number = number.and_then(|rest| rest.strip_prefix('-'));
    number.is_some_and(|number| number.parse::<i32>().is_ok())
}

/// The start of each of these partitions: where `position` says, or, of a topic that it knows
/// nothing of, where the options say.
pub(super) fn resolve(
    consumer: &BaseConsumer<Shared>,
    settings: &Settings,
    topic: &str,
    partitions: &[i32],
    position: &Position,
) -> Result<Vec<Start>> {
    let mut starts = Vec::with_capacity(partitions.len());
    let mut fresh = vec![];
    for &partition in partitions {
        let (low, end) = consumer
            .fetch_watermarks(topic, partition, REQUEST_TIMEOUT)
            .map_err(|error| failed("read the offsets of", topic, error))?;
        let split = split(topic, partition);
        let known = position.get(&split).copied();
        let from = match (known, settings.skips()) {
            (None, _) => {
                fresh.push((starts.len(), low));
                low
            }
            (Some(wanted), Some(skipped)) if wanted < low => {
                if skipped.add(&split, wanted, low) {
                    let gone = low - wanted;
                    tracing::warn!(%split, from = wanted, to = low, "{gone} messages are gone");
                }
                low
            }
            (Some(wanted), _) => {
                check(topic, partition, wanted, low, end)?;
                wanted
            }
        };
        starts.push(Start {
            partition,
            split,
            from,
            end,
            fresh: known.is_none(),
        });
    }
    // A partition that was added while the job knew the others has nothing that it is not to read.
    let added = position.keys().any(|split| is_of(split, topic));
    if fresh.is_empty() || added {
        return Ok(starts);
    }
    let asked: Vec<_> = fresh
        .iter()
        .map(|(index, _)| starts[*index].partition)
        .collect();
    match settings.options.startup {
        Startup::EarliestOffset => {}
        Startup::LatestOffset => {
            for (index, _) in fresh {
                starts[index].from = starts[index].end;
            }
        }
        Startup::Timestamp => {
            let millis = settings.options.startup_millis.unwrap_or_default();
            let found = list(topic, &asked, Offset::Offset(millis))
                .and_then(|times| consumer.offsets_for_times(times, REQUEST_TIMEOUT))
                .map_err(|error| failed("find a time in", topic, error))?;
            for (index, _) in fresh {
                let start = &mut starts[index];
                // A time after the last message is answered with the end, which then moves on.
                start.from = offset(&found, topic, start.partition).unwrap_or(start.end);
            }
        }
        Startup::GroupOffsets => {
            let committed = match &settings.group {
                Some(_) => list(topic, &asked, Offset::Invalid)
                    .and_then(|list| consumer.committed_offsets(list, REQUEST_TIMEOUT))
                    .map_err(|error| failed("read the group's offsets of", topic, error))?,
                None => TopicPartitionList::new(),
            };
            for (index, low) in fresh {
                let start = &mut starts[index];
                let committed = offset(&committed, topic, start.partition);
                start.from = group_start(settings, topic, start, low, committed)?;
            }
        }
    }
    Ok(starts)
}

fn list(topic: &str, partitions: &[i32], offset: Offset) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition_offset(topic, *partition, offset)?;
    }
    Ok(list)
}

fn offset(list: &TopicPartitionList, topic: &str, partition: i32) -> Option<i64> {
    match list.find_partition(topic, partition)?.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}

/// What `properties.auto.offset.reset` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reset {
    /// Start at the first message.
    Earliest,
    /// Start at the next message.
    Latest,
    /// Do not start.
    Refuse,
}

impl Reset {
    /// Reads one of the spellings that librdkafka and the Java clients know.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "earliest" | "smallest" | "beginning" => Some(Self::Earliest),
            "latest" | "largest" | "end" => Some(Self::Latest),
            "none" | "error" => Some(Self::Refuse),
            _ => None,
        }
    }
}

fn group_start(
    settings: &Settings,
    topic: &str,
    start: &Start,
    low: i64,
    committed: Option<i64>,
) -> Result<i64> {
    let (group, split, end) = (
        settings.group.as_deref().unwrap_or("-"),
        &start.split,
        start.end,
    );
    match committed {
        Some(offset) if (low..=end).contains(&offset) => return Ok(offset),
        Some(offset) => {
            tracing::warn!(group, %split, offset, low, end, "the group's offset is gone");
        }
        None => tracing::debug!(group, %split, "the group has no offset"),
    }
    match settings.reset {
        Reset::Earliest => Ok(low),
        Reset::Latest => Ok(end),
        Reset::Refuse => Err(Error::invalid(format!(
            "the group '{group}' has no offset for partition {} of the kafka topic '{topic}' and \
             'properties.auto.offset.reset' is 'none'; set 'scan.startup.mode'",
            start.partition
        ))),
    }
}

/// Whether the offset that the log wants can still be read.
fn check(topic: &str, partition: i32, wanted: i64, low: i64, end: i64) -> Result<()> {
    if wanted < low {
        return Err(Error::corrupt(format!(
            "offset {wanted} of partition {partition} of the kafka topic '{topic}' is no longer \
             there, it begins at {low}: {} messages were removed by its retention before they \
             were read; lengthen the retention, and start the job from 'offset' (--from offset) to \
             go on without them",
            low - wanted
        )));
    }
    if wanted > end {
        return Err(Error::corrupt(format!(
            "offset {wanted} of partition {partition} of the kafka topic '{topic}' is not there \
             yet, it ends at {end}: the topic is not the one the job has read, probably it was \
             deleted and created again; start the job from 'empty' (--from empty)"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use engine::ErrorKind;

    use super::*;

    #[test]
    fn an_offset_out_of_reach_is_told_with_what_there_is() {
        check("t", 3, 5, 5, 9).unwrap();
        check("t", 3, 9, 5, 9).unwrap();
        let gone = check("t", 3, 4, 6, 9).unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::Corrupt);
        let text = gone.to_string();
        assert!(
            text.starts_with("offset 4 of partition 3 of the kafka topic 't'"),
            "{text}"
        );
        assert!(text.contains("begins at 6: 2 messages"), "{text}");
        let early = check("t", 3, 10, 6, 9).unwrap_err().to_string();
        assert!(early.contains("ends at 9"), "{early}");
    }

    #[test]
    fn reset_knows_the_spellings_of_both_clients() {
        assert_eq!(Reset::parse("smallest"), Some(Reset::Earliest));
        assert_eq!(Reset::parse("latest"), Some(Reset::Latest));
        assert_eq!(Reset::parse("none"), Some(Reset::Refuse));
        assert_eq!(Reset::parse("newest"), None);
    }
}
