//! `millstream serve`: the server, until it is told to stop.

use tokio::sync::watch;

use crate::config::{Config, Flags};
use crate::exit::Failure;
use crate::listen::Listener;
use crate::serve::Server;
use crate::supervise::Signals;
use crate::telemetry;

pub(super) async fn serve(flags: &Flags) -> Result<(), Failure> {
    let input = |error: engine::Error| Failure::input(&error);
    let config = Config::read(flags).map_err(input)?;
    telemetry::start_server(&config).map_err(input)?;
    let scheme = match config.tls_certificate {
        Some(_) => "https",
        None => "http",
    };
    // A signal counts from here on: nothing is started that it would not stop.
    let mut signals = Signals::new().map_err(|error| Failure::run(&error))?;
    let listener = Listener::bind(config.listen).await.map_err(input)?;
    let server = tokio::select! {
        server = Box::pin(Server::open(config)) => server.map_err(input)?,
        () = signals.next() => return Ok(()),
    };
    let (close, closing) = watch::channel(false);
    tracing::info!("listening at {scheme}://{}", listener.address());
    let serving = server.serve_at(listener, closing);
    tokio::pin!(serving);
    tokio::select! {
        () = &mut serving => return Ok(()),
        () = signals.next() => tracing::info!("stopping after a last commit of every job"),
    }
    let _ = close.send(true);
    tokio::select! {
        () = &mut serving => Ok(()),
        () = signals.next() => Err(Failure::failed("stopped at once")),
    }
}
