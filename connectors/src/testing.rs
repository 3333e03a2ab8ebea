//! A real Kafka for tests and benches: started once per process, gone with it.
//!
//! ```no_run
//! use connectors::testing::{Broker, Record};
//!
//! let broker = Broker::shared()?;
//! let topic = broker.unique("trades");
//! broker.create_topic(&topic, 3)?;
//! broker.produce(&topic, &[Record::new("AAPL", r#"{"price": 1.5}"#)])?;
//! assert_eq!(broker.consume(&topic, 1)?.len(), 1);
//! # Ok::<(), engine::Error>(())
//! ```

mod broker;
mod client;
mod jars;

pub use broker::Broker;
pub use client::Record;
