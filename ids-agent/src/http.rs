//! Serves metrics and health over HTTP, to the machine itself unless told otherwise. Spawns nothing:
//! the caller runs the connections that `serve` hands it.

use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::sync::Semaphore;

mod health;
mod metrics;

pub use health::Health;
pub use metrics::{
    AttachState, BudgetGauge, EnforceMetrics, EveGauge, ManagedMetrics, Metrics, QueueGauge, RuleUpdate, Series,
    Snapshot, family, severity_label,
};

/// A client that has not sent its request's header by then is cut off.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// No connection lives longer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// Connections served at once; more wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 32;

/// Why the pages cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("cannot serve metrics on {address}: {source}; choose another address with --metrics, or --metrics off")]
    Bind { address: SocketAddr, source: io::Error },
}

/// What the pages show.
#[derive(Debug)]
pub struct Pages {
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
}

/// Takes the address at once, so that a conflict stops the start.
pub fn bind(address: SocketAddr) -> Result<TcpListener, HttpError> {
    let fail = |source| HttpError::Bind { address, source };
    let listener = TcpListener::bind(address).map_err(fail)?;
    listener.set_nonblocking(true).map_err(fail)?;
    Ok(listener)
}

/// Accepts connections until `stop` is done; gives each to `run`.
pub async fn serve<F>(listener: TcpListener, pages: Arc<Pages>, stop: impl Future<Output = ()>, run: F)
where
    F: Fn(std::pin::Pin<Box<dyn Future<Output = ()> + Send>>),
{
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "metrics cannot be served");
            return;
        }
    };
    let router = router(pages);
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut stop = pin!(stop);
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = &mut stop => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let service = TowerToHyperService::new(router.clone());
                run(Box::pin(async move {
                    let connection = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(HEADER_TIMEOUT)
                        .serve_connection(TokioIo::new(stream), service);
                    // What a client does wrong is its own affair.
                    let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
                    drop(slot);
                }));
            }
            // Out of file descriptors, or a connection reset while it waited: go on, but not in a spin.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

fn router(pages: Arc<Pages>) -> Router {
    Router::new()
        .route("/metrics", get(metrics_page))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(pages)
}

async fn metrics_page(State(pages): State<Arc<Pages>>) -> impl IntoResponse {
    match pages.metrics.render() {
        Ok(text) => (StatusCode::OK, [("content-type", "text/plain; version=0.0.4")], text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, [("content-type", "text/plain")], error.to_string()),
    }
}

async fn healthz(State(pages): State<Arc<Pages>>) -> impl IntoResponse {
    verdict(pages.health.fault())
}

async fn readyz(State(pages): State<Arc<Pages>>) -> impl IntoResponse {
    verdict(pages.health.not_ready())
}

fn verdict(fault: Option<String>) -> (StatusCode, String) {
    match fault {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}
