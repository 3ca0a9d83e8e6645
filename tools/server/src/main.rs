//! `kogia-server DIR`.

use std::process::ExitCode;

use clap::Parser;
use kogia_server::admin::Recent;
use kogia_server::config::{Arguments, Config, LogFormat};
use kogia_server::credentials;
use kogia_server::server::Server;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::{EnvFilter, LevelFilter, Targets};
use tracing_subscriber::prelude::*;

/// What is logged unless `KOGIA_SERVER_LOG` says otherwise. s3s logs each refused request as an error;
/// the access log has those.
const DEFAULT_LOG: &str = "info,s3s=off";

/// As flags that are none end it.
const WRONG_SETTINGS: u8 = 2;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let recent = Recent::default();
    start_log(arguments.log_format, recent.clone());
    let config = match Config::load(&arguments) {
        Ok(config) => config,
        Err(error) => return failed(&error, ExitCode::from(WRONG_SETTINGS)),
    };
    match run(config, recent) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error, ExitCode::FAILURE),
    }
}

fn failed(error: &str, code: ExitCode) -> ExitCode {
    eprintln!("kogia-server: {error}");
    code
}

/// The log, and with it what [`Recent`] keeps, which is the same whatever is written.
fn start_log(format: LogFormat, recent: Recent) {
    let filter =
        EnvFilter::try_from_env("KOGIA_SERVER_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG));
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let log = match format {
        LogFormat::Text => log.with_filter(filter).boxed(),
        LogFormat::Json => log.json().flatten_event(true).with_filter(filter).boxed(),
    };
    let kept = Targets::new().with_default(LevelFilter::WARN).with_target("s3s", LevelFilter::OFF);
    tracing_subscriber::registry().with(log).with(recent.with_filter(kept)).init();
}

fn run(config: Config, recent: Recent) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(config.limits.threads)
        .build()
        .map_err(|error| format!("could not start threads: {error}"))?;
    let outcome = runtime.block_on(serve(config, recent));
    // What a client keeps waiting does not keep the process.
    runtime.shutdown_background();
    outcome
}

async fn serve(config: Config, recent: Recent) -> Result<(), String> {
    let mut terminated = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let kept_in = credentials::path(&config.dir);
    let server = Server::open(config).await?;
    let scheme = if server.has_tls() { "https" } else { "http" };
    println!("endpoint    {scheme}://{}", server.address());
    println!("admin       http://{}", server.admin_address());
    if let Some(key) = server.made_key() {
        println!("access key  {}", key.access_key);
        println!("secret key  {}", key.secret_key);
        println!("kept in     {}", kept_in.display());
    }
    server
        .run(recent, async move {
            tokio::select! {
                _ = terminated.recv() => {}
                _ = interrupted.recv() => {}
            }
        })
        .await
}
