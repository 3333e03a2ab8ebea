//! `stdout`: whole lines, tables, and a reader that goes away.
#![expect(
    clippy::expect_used,
    reason = "a test fails where something is not as expected"
)]

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use connectors::stdout::StdoutSink;
use engine::{Epoch, ErrorKind, Sink};

use crate::tables::{stream, trade_fields, trades};

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .expect("not poisoned")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn written(options: &[(&str, &str)]) -> String {
    let out = Shared::default();
    let table = stream("stdout", trade_fields(), options);
    let mut sink = StdoutSink::new(&table, Box::new(out.clone())).expect("a sink");
    sink.publish(Epoch(1), &[trades(&[0, 1])])
        .await
        .expect("written");
    let bytes = out.0.lock().expect("not poisoned").clone();
    String::from_utf8(bytes).expect("UTF-8")
}

#[tokio::test]
async fn rows_are_lines_or_tables() {
    assert_eq!(
        written(&[]).await,
        "{\"symbol\":\"A\",\"price\":0.0,\"ts\":\"1970-01-01 00:00:00\"}\n\
         {\"symbol\":\"B\",\"price\":0.125,\"ts\":\"1970-01-01 00:00:00.000000001\"}\n"
    );
    assert!(
        written(&[("format", "table")])
            .await
            .contains("| symbol | price | ts ")
    );
}

#[tokio::test]
async fn a_closed_pipe_is_an_error() {
    let table = stream("stdout", trade_fields(), &[]);
    let mut sink = StdoutSink::new(&table, Box::new(Closed)).expect("a sink");
    let error = sink
        .publish(Epoch(1), &[trades(&[0])])
        .await
        .expect_err("closed");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let wrong = stream("stdout", trade_fields(), &[("format", "xml")]);
    let error = StdoutSink::new(&wrong, Box::new(Closed)).expect_err("unknown");
    assert!(error.chain().contains("expected 'json' or 'table'"));
}
