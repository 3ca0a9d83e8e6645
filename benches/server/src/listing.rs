//! Listings of many objects, of which a delimiter leaves few names.
//!
//! Object `n` lies below prefix `n % prefixes`, so that whoever could not be given all of them has the
//! same prefixes, with fewer below each.

use std::time::{Duration, Instant};

use rusty_s3::actions::ListObjectsV2;
use serde::Serialize;

use crate::client::{Client, Endpoint};
use crate::load::{Load, Rate};
use crate::machine;
use crate::server::{Kind, Server, Sync};
use crate::{Result, Settings};

/// Bytes of a listed object.
const SIZE: usize = 16;
/// How long a kind of page is asked for in a turn, and how often at most.
const TIME: Duration = Duration::from_secs(2);
const PAGES: usize = 1000;
/// How often each server has its turn.
const TURNS: usize = 7;

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

/// Times of pages of a kind, in ms, by turns.
#[derive(Clone, Debug, Serialize)]
pub struct Pages {
    pub turns: Vec<Vec<f64>>,
    pub keys: usize,
    pub prefixes: usize,
}

/// Loads each server anew, and then lists what they have in turn: each has the others' turns a few seconds
/// before and behind its own, as in the rounds.
pub async fn compare(
    kinds: &[Kind],
    settings: &Settings,
    missing: &mut Vec<(String, String)>,
) -> Vec<(Server, Listing)> {
    let mut listed = Vec::new();
    for &kind in kinds {
        eprintln!("loaded for listings: {}", kind.name());
        match fill(kind, settings).await {
            Ok(filled) => listed.push(filled),
            Err(error) => missing.push((format!("listings by {}", kind.name()), error.to_string())),
        }
    }
    for turn in 0..TURNS {
        for at in 0..listed.len() {
            let which = (at + turn) % listed.len();
            let (server, listing) = &mut listed[which];
            eprintln!("turn {turn}: lists: {}", server.kind.name());
            if let Err(error) = listing.again(server).await {
                let what = format!("turn {turn} of listings by {}", server.kind.name());
                missing.push((what, error.to_string()));
            }
        }
    }
    listed
}

/// Loads a new server.
async fn fill(kind: Kind, settings: &Settings) -> Result<(Server, Listing)> {
    // Only names count here, and syncing a million of them one by one takes some servers hours.
    let server = Server::start(kind, settings, Sync::Never).await?;
    let mut load = Load::connect(&server.endpoint, settings.listing_connections).await?;
    let time = Duration::from_secs_f64(settings.listing_seconds);
    let loaded =
        self::load(&mut load, settings.listing_keys, settings.listing_prefixes, time).await?;
    machine::settle(&settings.dir)?;
    let disk_bytes = machine::disk_bytes(&server.data());
    let none = || Pages { turns: Vec::new(), keys: 0, prefixes: 0 };
    let listing = Listing {
        kind,
        synced: kind == Kind::Kogia,
        loaded,
        disk_bytes,
        rss_bytes: 0,
        hwm_bytes: 0,
        delimiter: none(),
        flat: none(),
        below: none(),
    };
    Ok((server, listing))
}

impl Listing {
    /// The server's next turn.
    async fn again(&mut self, server: &Server) -> Result<()> {
        let [delimiter, flat, below] = list(&server.endpoint).await?;
        self.delimiter.add(delimiter);
        self.flat.add(flat);
        self.below.add(below);
        self.rss_bytes = machine::memory_bytes(server.pid(), "VmRSS")?;
        self.hwm_bytes = machine::memory_bytes(server.pid(), "VmHWM")?;
        Ok(())
    }
}

impl Pages {
    fn add(&mut self, turn: Pages) {
        self.turns.extend(turn.turns);
        (self.keys, self.prefixes) = (turn.keys, turn.prefixes);
    }
}

/// Puts what is listed, or what of it can be put in a time.
pub async fn load(load: &mut Load, count: u64, prefixes: u64, time: Duration) -> Result<Rate> {
    let name = |number| format!("p{:05}/{:08}", number % prefixes, number / prefixes);
    load.put_named(count, time, SIZE, name).await
}

/// One turn: the root with the delimiter, keys without it, and what lies below one prefix.
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
        // The last one is read: between the others that would let the server's processor fall asleep.
        if ms.len() == PAGES || started.elapsed() > TIME {
            let page = ListObjectsV2::parse_response(std::str::from_utf8(&page.concat())?)?;
            let (keys, prefixes) = (page.contents.len(), page.common_prefixes.len());
            return Ok(Pages { turns: vec![ms], keys, prefixes });
        }
    }
}
