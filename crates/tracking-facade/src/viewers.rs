//! Live viewers, served by the agent itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use stream_ws::{Hub, HubOptions, ServeError, ServeReport, ServerOptions, bind, serve};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracking_journal::Clock;

use crate::{Archive, TrackingError};

/// Where viewers are served, and how.
#[derive(Debug, Clone)]
pub(crate) struct Viewing {
    pub(crate) address: String,
    pub(crate) options: ServerOptions,
}

/// Listens, and serves nobody yet.
#[derive(Debug)]
pub(crate) struct Listening {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    options: ServerOptions,
}

/// A server, and its end.
#[derive(Debug)]
pub(crate) struct Viewers {
    addresses: Vec<SocketAddr>,
    hub: Hub,
    shutdown: CancellationToken,
    // Ends with this.
    serving: JoinSet<Result<ServeReport, ServeError>>,
}

impl Viewing {
    /// Listens, if that is allowed with these options. Shutting down will take `at_most`.
    pub(crate) async fn listen(mut self, at_most: Duration) -> Result<Listening, ServeError> {
        let listeners = bind(&self.address).await?;
        let mut addresses = Vec::new();
        for listener in &listeners {
            let address = listener.local_addr().map_err(ServeError::Listener)?;
            self.options.check(address)?;
            addresses.push(address);
        }
        self.options.limits.shutdown = self.options.limits.shutdown.min(at_most);
        Ok(Listening {
            listeners,
            addresses,
            options: self.options,
        })
    }
}

impl Listening {
    pub(crate) fn serve(self, archive: &Archive, clock: Arc<dyn Clock>) -> Viewers {
        let hub = archive.hub(HubOptions::default().with_clock(clock));
        let shutdown = CancellationToken::new();
        let mut serving = JoinSet::new();
        serving.spawn(serve(self.listeners, hub.clone(), self.options, shutdown.clone()));
        Viewers {
            addresses: self.addresses,
            hub,
            shutdown,
            serving,
        }
    }
}

impl Viewers {
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Lets viewers have what happened, tells them to go, and waits for that until `deadline`.
    pub(crate) async fn stop(
        mut self,
        deadline: Instant,
        late: TrackingError,
    ) -> Result<ServeReport, TrackingError> {
        let stopping = async {
            self.hub.settle().await;
            self.shutdown.cancel();
            let served = self.serving.join_next().await;
            self.hub.close().await;
            served
        };
        match timeout_at(deadline, stopping).await {
            Err(_) => Err(late),
            Ok(Some(Ok(served))) => Ok(served?),
            Ok(Some(Err(error))) => std::panic::resume_unwind(error.into_panic()),
            Ok(None) => Ok(ServeReport::default()),
        }
    }
}
