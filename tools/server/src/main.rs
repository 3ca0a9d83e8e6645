//! `kogia-server DIR`.

use std::process::ExitCode;

use clap::Parser;
use kogia_server::config::{Arguments, Config, LogFormat};
use kogia_server::credentials;
use kogia_server::server::Server;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// What is logged unless `KOGIA_SERVER_LOG` says otherwise. s3s logs each refused request as an error;
/// the access log has those.
const DEFAULT_LOG: &str = "info,s3s=off";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log(arguments.log_format);
    match Config::load(&arguments).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kogia-server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start_log(format: LogFormat) {
    let filter =
        EnvFilter::try_from_env("KOGIA_SERVER_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

fn run(config: Config) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(config.limits.threads)
        .build()
        .map_err(|error| format!("could not start threads: {error}"))?;
    let outcome = runtime.block_on(serve(config));
    // What a client keeps waiting does not keep the process.
    runtime.shutdown_background();
    outcome
}

async fn serve(config: Config) -> Result<(), String> {
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
        .run(async move {
            tokio::select! {
                _ = terminated.recv() => {}
                _ = interrupted.recv() => {}
            }
        })
        .await
}
