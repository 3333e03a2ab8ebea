//! A source that has nothing new: what was read before can be read again, for recovery.

use async_trait::async_trait;
use engine::{Polled, Position, Result, Source, Split, Waiting};

/// Stands for a source.
pub(crate) struct Paused {
    source: Box<dyn Source>,
    rereading: bool,
}

impl Paused {
    /// The source without what is new.
    pub(crate) fn source(source: Box<dyn Source>) -> Box<dyn Source> {
        Box::new(Self {
            source,
            rereading: false,
        })
    }
}

#[async_trait]
impl Source for Paused {
    async fn splits(&mut self) -> Result<Vec<Split>> {
        self.source.splits().await
    }

    async fn seek(&mut self, to: &Position) -> Result<()> {
        self.source.seek(to).await
    }

    async fn next(&mut self) -> Result<Option<Polled>> {
        match self.rereading {
            true => self.source.next().await,
            false => std::future::pending().await,
        }
    }

    fn repeatable(&self) -> bool {
        self.source.repeatable()
    }

    fn rereading(&mut self, again: bool) {
        self.rereading = again;
        self.source.rereading(again);
    }

    fn waiting(&self) -> Option<Waiting> {
        self.source.waiting()
    }
}
