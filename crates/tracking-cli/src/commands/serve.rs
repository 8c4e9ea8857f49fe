//! `ekstrack serve`: shows the upgrades of a data directory to whoever connects.

mod metrics;

use std::path::Path;

use serde_json::json;
use tokio::task::JoinSet;
use tracking_facade::live::{
    CancellationToken, HubOptions, ServeError, ServerOptions, TlsIdentity, Token, TokenError, bind,
    serve as serve_hub,
};
use tracking_facade::{Archive, storage};

use crate::args::ServeArgs;
use crate::commands::runtime::block_on;
use crate::exit::{Failure, Kind};
use crate::failure::cannot;
use crate::output::Output;
use crate::process::Signals;
use crate::redact::messages;
use crate::settings::Settings;
use metrics::Metrics;

/// No token comes near it.
const LARGEST_TOKEN: u64 = 64 << 10;

/// Serves until a signal comes.
pub(crate) fn serve(args: &ServeArgs, settings: &Settings) -> Result<(), Failure> {
    let archive = settings
        .archive()
        .map_err(cannot(|| "serve upgrades".to_owned()))?;
    let options = options(args)?;
    block_on(run(args, options, &archive, settings.output))?
}

fn options(args: &ServeArgs) -> Result<ServerOptions, Failure> {
    let mut options = ServerOptions::default()
        .with_behind_tls_proxy(args.behind_tls_proxy)
        .with_hosts(args.allow_host.iter().cloned())
        .with_origins(args.allow_origin.iter().cloned());
    if let Some(path) = &args.token_file {
        options = options.with_token(token(path)?);
    }
    if let Some((certificate, key)) = args.certificate.as_deref().zip(args.key.as_deref()) {
        let identity = TlsIdentity::from_pem_files(certificate, key);
        options = options.with_tls(identity.map_err(|error| Failure::of(Kind::Usage, "speak TLS", &error))?);
    }
    Ok(options)
}

/// The token in a file.
pub(super) fn token(path: &Path) -> Result<Token, Failure> {
    let failed = |error: &dyn std::error::Error| {
        Failure::of(
            Kind::Usage,
            format!("read a token from {}", path.display()),
            error,
        )
    };
    let text = storage::read_named_to_string(path, LARGEST_TOKEN).map_err(|error| failed(&error))?;
    messages::keep_out(&text);
    text.parse().map_err(|error: TokenError| failed(&error))
}

fn cannot_serve(listen: &str, error: &ServeError) -> Failure {
    let kind = match error {
        ServeError::NeedsToken { .. }
        | ServeError::NeedsTls { .. }
        | ServeError::Name(_)
        | ServeError::Address { .. } => Kind::Usage,
        _ => Kind::Unavailable,
    };
    let failure = Failure::of(kind, format!("serve on {listen}"), error);
    match error {
        ServeError::NeedsToken { .. } => {
            failure.hint("`openssl rand -hex 32 > token` makes one for --token-file; viewers need it too")
        }
        ServeError::NeedsTls { .. } => {
            failure.hint("--certificate and --key name them; --behind-tls-proxy says that a proxy has them")
        }
        ServeError::InUse { address, .. } => failure.hint(format!(
            "`ss -ltnp 'sport = :{}'` shows what listens there; --listen takes another",
            address.port()
        )),
        ServeError::Denied { .. } | ServeError::Bind { .. } => {
            failure.hint("--listen takes an address of this machine and a port, such as localhost:8765")
        }
        _ => failure,
    }
}

async fn run(
    args: &ServeArgs,
    options: ServerOptions,
    archive: &Archive,
    output: Output,
) -> Result<(), Failure> {
    let failed = |error| cannot_serve(&args.listen, &error);
    let signals = |error: &dyn std::error::Error| Failure::of(Kind::Failed, "serve upgrades", error);
    let mut interrupts = Signals::that_end().map_err(|error| signals(&error))?;
    let listeners = bind(&args.listen).await.map_err(failed)?;
    let scheme = if options.tls.is_some() { "wss" } else { "ws" };
    let mut urls = Vec::new();
    for listener in &listeners {
        let address = listener
            .local_addr()
            .map_err(|error| failed(ServeError::Listener(error)))?;
        options.check(address).map_err(failed)?;
        urls.push(format!("{scheme}://{address}"));
    }
    let metrics = match args.metrics_listen {
        Some(address) => Some(Metrics::listen(address).await?),
        None => None,
    };
    let metrics_url = metrics.as_ref().map(Metrics::url).transpose();
    let metrics_url = metrics_url.map_err(|error| failed(ServeError::Listener(error)))?;
    output.result(&json!({ "listening": urls, "metrics": metrics_url }), |_| {
        let metrics = metrics_url.iter().map(|url| format!("metrics on {url}\n"));
        urls.iter()
            .map(|url| format!("serving on {url}\n"))
            .chain(metrics)
            .collect()
    })?;
    let mut offering = JoinSet::new();
    if let Some(metrics) = metrics {
        offering.spawn(metrics.serve());
    }
    let (hub, shutdown) = (archive.hub(HubOptions::default()), CancellationToken::new());
    let serving = serve_hub(listeners, hub.clone(), options, shutdown.clone());
    tokio::pin!(serving);
    let served = tokio::select! {
        served = &mut serving => served,
        _ = interrupts.asked_to_end() => {
            shutdown.cancel();
            serving.await
        }
    };
    hub.close().await;
    let report = served.map_err(failed)?;
    tracing::info!(
        accepted = report.accepted,
        viewers = report.viewers,
        cut_off = report.cut_off,
        "served"
    );
    Ok(())
}
