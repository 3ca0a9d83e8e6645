//! Requests from all connections at once, for a time, and what they took.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde::Serialize;

use crate::Result;
use crate::client::{Client, Endpoint};
use crate::machine::cpu_seconds;
use crate::object::{Payload, Random, key};

/// Keys of one DeleteObjects.
const BATCH: u64 = 1000;

/// What was done in a measurement.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Rate {
    /// Objects that were put, read or deleted.
    pub objects: u64,
    pub seconds: f64,
    /// Of requests, in ms.
    pub median_ms: f64,
    pub p99_ms: f64,
    /// Processor time of this client.
    pub client_cpu: f64,
}

impl Rate {
    pub fn per_second(&self) -> f64 {
        self.objects as f64 / self.seconds
    }
}

/// Objects of one size below one prefix.
pub struct Group<'a> {
    pub name: &'a str,
    pub size: usize,
}

/// Connections that do the same thing.
pub struct Load {
    clients: Vec<Client>,
}

impl Load {
    pub async fn connect(endpoint: &Endpoint, connections: usize) -> Result<Self> {
        let mut clients = Vec::new();
        for _ in 0..connections {
            clients.push(Client::connect(endpoint).await?);
        }
        Ok(Self { clients })
    }

    /// Puts objects 0, 1, ... up to `count`, and fewer if time is up before.
    pub async fn put(&mut self, group: &Group<'_>, count: u64, time: Duration) -> Result<Rate> {
        self.put_named(count, time, group.size, |number| key(group.name, group.size, number)).await
    }

    /// The same under names of its own.
    pub async fn put_named(
        &mut self,
        count: u64,
        time: Duration,
        size: usize,
        name: impl Fn(u64) -> String,
    ) -> Result<Rate> {
        let next = Cell::new(0);
        let started = Instant::now();
        self.measure(async |client, took| {
            while next.get() < count && started.elapsed() < time {
                let number = next.replace(next.get() + 1);
                let key = name(number);
                let began = Instant::now();
                client.put(&key, Payload::object(&key, size)).await?;
                took.add(began, 1);
            }
            Ok(())
        })
        .await
    }

    /// Reads objects out of the first `count`, at random, until time is up.
    pub async fn get(&mut self, group: &Group<'_>, count: u64, time: Duration) -> Result<Rate> {
        let started = Instant::now();
        let seed = Cell::new(1);
        self.measure(async |client, took| {
            let mut random = Random::new(seed.replace(seed.get() + 1));
            while started.elapsed() < time {
                let number = random.next() % count;
                let began = Instant::now();
                client.get(&key(group.name, group.size, number), group.size).await?;
                took.add(began, 1);
            }
            Ok(())
        })
        .await
    }

    /// Deletes the first `count` objects.
    pub async fn delete(&mut self, group: &Group<'_>, count: u64) -> Result<Rate> {
        let next = Cell::new(0);
        self.measure(async |client, took| {
            while next.get() < count {
                let from = next.replace(next.get() + BATCH);
                let numbers = from..(from + BATCH).min(count);
                let objects = numbers.end - numbers.start;
                let keys = numbers.map(|number| key(group.name, group.size, number)).collect();
                let began = Instant::now();
                client.delete(keys).await?;
                took.add(began, objects);
            }
            Ok(())
        })
        .await
    }

    /// Lets every connection do `work` to its end; the first error of any of them is the result's.
    async fn measure<F>(&mut self, work: F) -> Result<Rate>
    where
        F: AsyncFn(&mut Client, &Took) -> Result<()>,
    {
        let took = Took::default();
        let (cpu, started) = (cpu_seconds(std::process::id())?, Instant::now());
        let done = join_all(self.clients.iter_mut().map(|client| work(client, &took))).await;
        let seconds = started.elapsed().as_secs_f64();
        let client_cpu = cpu_seconds(std::process::id())? - cpu;
        done.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(took.rate(seconds, client_cpu))
    }
}

/// What requests took.
#[derive(Default)]
struct Took {
    ms: RefCell<Vec<f32>>,
    objects: Cell<u64>,
}

impl Took {
    fn add(&self, began: Instant, objects: u64) {
        self.ms.borrow_mut().push(began.elapsed().as_secs_f32() * 1e3);
        self.objects.set(self.objects.get() + objects);
    }

    fn rate(self, seconds: f64, client_cpu: f64) -> Rate {
        let mut ms = self.ms.into_inner();
        ms.sort_by(f32::total_cmp);
        let at = |part: f64| {
            ms.get((ms.len() as f64 * part) as usize).copied().map_or(f64::NAN, f64::from)
        };
        Rate {
            objects: self.objects.get(),
            seconds,
            median_ms: at(0.5),
            p99_ms: at(0.99),
            client_cpu,
        }
    }
}
