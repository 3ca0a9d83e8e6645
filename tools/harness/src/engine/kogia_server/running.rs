//! A server that runs in a thread of this process, so that whoever kills the process kills it.

use std::net::SocketAddr;
use std::sync::mpsc::{Sender, channel};
use std::thread::{JoinHandle, spawn};

use kogia_server::admin::Recent;
use kogia_server::config::Config;
use kogia_server::server::Server;
use tokio::sync::oneshot;

/// Threads of the server's that never wait for disks.
const THREADS: usize = 2;

/// A server that is open and answers. Dropping it stops it.
pub struct Running {
    pub addresses: Addresses,
    /// Dropped to stop it.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

/// Where it answers.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    pub s3: SocketAddr,
    pub admin: SocketAddr,
}

impl Running {
    /// Opens what is in the data directory, and answers.
    pub fn start(config: Config) -> Result<Self, String> {
        let (tell, told) = channel();
        let (stop, stopped) = oneshot::channel();
        let thread = spawn(move || run(config, tell, stopped));
        match told.recv() {
            Ok(addresses) => Ok(Running { addresses, stop: Some(stop), thread: Some(thread) }),
            // It has let go of its end.
            Err(_) => Err(join(thread).err().unwrap_or_else(|| "it has not started".to_owned())),
        }
    }

    /// Stops it as SIGTERM does, and says whether that went well.
    pub fn stop(mut self) -> Result<(), String> {
        self.end()
    }

    fn end(&mut self) -> Result<(), String> {
        drop(self.stop.take());
        self.thread.take().map_or(Ok(()), join)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nobody asks.
        let _ = self.end();
    }
}

fn join(thread: JoinHandle<Result<(), String>>) -> Result<(), String> {
    thread.join().unwrap_or_else(|_| Err("the server's thread panicked".to_owned()))
}

fn run(
    config: Config,
    tell: Sender<Addresses>,
    stopped: oneshot::Receiver<()>,
) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .max_blocking_threads(config.limits.threads)
        .build()
        .map_err(|error| error.to_string())?;
    // The runtime's end waits for whoever still has a store: it may be opened again at once.
    runtime.block_on(async {
        let server = Server::open(config).await?;
        let _ = tell.send(Addresses { s3: server.address(), admin: server.admin_address() });
        let stop = async { drop(stopped.await) };
        server.run(Recent::default(), stop).await
    })
}
