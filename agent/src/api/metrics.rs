//! The one TCP port: metrics for Prometheus, and the answers that HTTP probes ask for. It only reads.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Context;
use super::control::now;
use crate::health::Life;

/// While an agent is replaced the former one may still have the port.
const BIND_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// As OpenMetrics names it.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves until `stop`. A port that cannot be had is asked for again: pods do not depend on it.
pub async fn serve(address: SocketAddr, context: Context, stop: CancellationToken) {
    let listener = tokio::select! {
        listener = bind(address) => listener,
        () = stop.cancelled() => return,
    };
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .with_state(context);
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(%error, "the port for metrics failed");
    }
}

async fn bind(address: SocketAddr) -> TcpListener {
    let mut told = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) if !told => {
                tracing::warn!(%address, %error, "no metrics: metrics.listen cannot be had, asking again");
                told = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(BIND_AGAIN_AFTER).await;
    }
}

async fn metrics(State(context): State<Context>) -> impl IntoResponse {
    let text = crate::metrics::text(&now(&context).await, &context.call_times);
    match text {
        Ok(text) => (StatusCode::OK, [(header::CONTENT_TYPE, CONTENT_TYPE)], text),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "text/plain")], String::new()),
    }
}

/// Whether the process answers and is not about to end: what a liveness probe asks.
async fn alive(State(context): State<Context>) -> StatusCode {
    answer(context.readiness.life() != Life::Stopping)
}

/// Whether CNI calls are served.
async fn ready(State(context): State<Context>) -> StatusCode {
    answer(context.is_ready())
}

fn answer(is_so: bool) -> StatusCode {
    if is_so { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
