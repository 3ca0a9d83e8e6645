//! Listings of many objects, of which a delimiter leaves few names.
//!
//! Object `n` lies below prefix `n % prefixes`, so that whoever could not be given all of them has the
//! same prefixes, with fewer below each.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::client::{Client, Endpoint};
use crate::load::{Load, Rate};
use crate::machine;
use crate::server::{Kind, Server, Sync};
use crate::{Result, Settings};

/// Bytes of a listed object.
const SIZE: usize = 16;
/// How long a kind of page is asked for, and how often at most.
const TIME: Duration = Duration::from_secs(10);
const PAGES: usize = 1000;

/// What listing took in one server.
#[derive(Clone, Debug, Serialize)]
pub struct Listing {
    pub kind: Kind,
    /// Whether what was loaded was synced.
    pub synced: bool,
    pub loaded: Rate,
    pub disk_bytes: u64,
    pub rss_bytes: u64,
    pub hwm_bytes: u64,
    /// The root with the delimiter, 1,000 prefixes of 1,000 keys.
    pub delimiter: Pages,
    /// A page of keys without a delimiter.
    pub flat: Pages,
    /// The keys below one of the prefixes, with the delimiter.
    pub below: Pages,
}

/// Times of pages of a kind, in ms.
#[derive(Clone, Debug, Serialize)]
pub struct Pages {
    pub ms: Vec<f64>,
    pub keys: usize,
    pub prefixes: usize,
}

/// Loads a new server and lists what it has.
pub async fn measure(kind: Kind, settings: &Settings) -> Result<Listing> {
    // Only names count here, and syncing a million of them one by one takes some servers hours.
    let sync = Sync::Never;
    let server = Server::start(kind, settings, sync).await?;
    let mut load = Load::connect(&server.endpoint, settings.listing_connections).await?;
    let time = Duration::from_secs_f64(settings.listing_seconds);
    let loaded =
        self::load(&mut load, settings.listing_keys, settings.listing_prefixes, time).await?;
    machine::settle(&settings.dir)?;
    let disk_bytes = machine::disk_bytes(&server.data());
    let [delimiter, flat, below] = list(&server.endpoint).await?;
    Ok(Listing {
        kind,
        synced: kind == Kind::Kogia,
        loaded,
        disk_bytes,
        rss_bytes: machine::memory_bytes(server.pid(), "VmRSS")?,
        hwm_bytes: machine::memory_bytes(server.pid(), "VmHWM")?,
        delimiter,
        flat,
        below,
    })
}

/// Puts what is listed, or what of it can be put in a time.
pub async fn load(load: &mut Load, count: u64, prefixes: u64, time: Duration) -> Result<Rate> {
    let name = |number| format!("p{:05}/{:08}", number % prefixes, number / prefixes);
    load.put_named(count, time, SIZE, name).await
}

/// The root with the delimiter, keys without it, and what lies below one prefix.
pub async fn list(endpoint: &Endpoint) -> Result<[Pages; 3]> {
    let mut client = Client::connect(endpoint).await?;
    let delimiter = pages(&mut client, "", Some("/")).await?;
    let flat = pages(&mut client, "", None).await?;
    let below = pages(&mut client, "p00500/", Some("/")).await?;
    Ok([delimiter, flat, below])
}

async fn pages(client: &mut Client, prefix: &str, delimiter: Option<&str>) -> Result<Pages> {
    let (mut ms, started) = (Vec::new(), Instant::now());
    loop {
        let (page, took) = client.list(prefix, delimiter).await?;
        ms.push(took.as_secs_f64() * 1e3);
        if ms.len() == PAGES || started.elapsed() > TIME {
            let (keys, prefixes) = (page.contents.len(), page.common_prefixes.len());
            return Ok(Pages { ms, keys, prefixes });
        }
    }
}
