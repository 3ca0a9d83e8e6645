//! Kogia's S3 server: the real one, in this process, spoken to over HTTP.
//!
//! Of the data directory nothing is known here but that the server lies in it. A bucket is all that
//! there is of an engine; it keeps versions where the setup says so. Everything is acknowledged when it
//! is durable, so that a sync has nothing to do.
//!
//! A part of a multipart upload can only be found again by what the server tells of it: the number of
//! the upload is in the part's number, and its bytes are known by their CRC-32C.

mod client;
mod running;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use kogia_server::access::{AccessKey, Right, Rule};
use kogia_server::config::{Config, Limits};
use serde_json::{Value, json};

use ::kogia::format::checksum::crc32c;

use self::client::{Client, Header, Reply, crc32c_of, crc32c_text, encoded, xml};
use self::running::Running;
use super::{Capability, Engine, Failure, Place, Promises, Result, Setup, Store, Version};
use crate::operation::{Durability, How, NULL, Print, Upload, When};

const BUCKET: &str = "objects";
const ACCESS_KEY: &str = "harness";
const SECRET_KEY: &str = "not-much-of-a-secret";
const MEMORY: ByteSize = ByteSize::mib(32);
/// Of the server's threads, those that wait for disks.
const THREADS: usize = 32;
/// So short that listings have several.
const PAGE: usize = 7;
/// Part numbers of one upload: the next upload's begin behind them.
const PARTS: u32 = 16;
/// A stream comes in pieces of this size.
const PIECE_BYTES: usize = 20_000;
/// Whoever hangs up leaves a stream behind, which the server gives up when it hears of it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Governance, for a hundred years.
const LOCKED: &str = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>\
                      <DefaultRetention><Mode>GOVERNANCE</Mode><Years>100</Years>\
                      </DefaultRetention></Rule></ObjectLockConfiguration>";

/// Kogia's S3 server, in the settings of [`Setup`].
pub struct KogiaServer;

/// A server that runs, and who speaks to it.
struct Open {
    s3: Client,
    admin: Client,
    /// Last: whoever speaks to it hangs up first.
    running: Running,
    versions: bool,
    /// Of a bucket that keeps versions, whether it does so now.
    keeps: AtomicBool,
    locks: bool,
}

/// A part as the server lists it.
#[derive(Clone, Debug)]
struct Part {
    upload: String,
    number: u32,
    etag: String,
    len: u64,
    crc32c: u32,
}

/// Bytes that come in pieces, and perhaps break off.
struct Pieces<'a> {
    left: &'a [u8],
    breaks_off: bool,
}

impl Engine for KogiaServer {
    fn name(&self) -> &'static str {
        "kogia-server"
    }

    fn about(&self) -> &'static str {
        "this project's own S3 server, over HTTP"
    }

    fn promises(&self) -> Promises {
        Promises { loses_suffixes: false, failed_is_gone: false, survives_errors: true }
    }

    fn has(&self, capability: Capability) -> bool {
        use Capability as C;
        let of_objects =
            [C::Append, C::AtOnce, C::BatchOfDeletes, C::Conditions, C::Copy, C::Stream];
        let of_uploads = [C::Parts, C::Abort];
        let of_buckets = [C::Compact, C::Locks, C::Move, C::Suspend, C::Versions];
        [&of_objects[..], &of_uploads, &of_buckets].iter().any(|of| of.contains(&capability))
    }

    fn open(&self, place: &Place, setup: &Setup) -> Result<Box<dyn Store>> {
        let running = Running::start(config(place)).map_err(Failure::Failed)?;
        let open = Open {
            s3: Client::new(running.addresses.s3),
            admin: Client::admin(running.addresses.admin, ACCESS_KEY, SECRET_KEY),
            running,
            versions: setup.versions,
            keeps: AtomicBool::new(true),
            locks: setup.locks,
        };
        open.make_bucket()?;
        Ok(Box::new(open))
    }
}

/// Ports of its own choice; nobody needs a signature, and parts may be small.
fn config(place: &Place) -> Config {
    let loopback = ([127, 0, 0, 1], 0).into();
    Config {
        listen: loopback,
        admin: loopback,
        disks: place.disks.clone(),
        memory: MEMORY,
        limits: Limits { part_bytes: ByteSize::b(1), threads: THREADS, ..Limits::default() },
        keys: vec![AccessKey {
            access_key: ACCESS_KEY.to_owned(),
            secret_key: SECRET_KEY.to_owned(),
            rules: Vec::new(),
        }],
        anonymous: vec![Rule { bucket: BUCKET.to_owned(), access: Right::Admin }],
        ..Config::new(&place.home)
    }
}

impl Open {
    /// Whoever was killed may have made it, and not have said that it keeps versions or locks them.
    fn make_bucket(&self) -> Result<()> {
        let with_locks: &[Header<'_>] = match self.locks {
            true => &[("x-amz-bucket-object-lock-enabled", "true")],
            false => &[],
        };
        let made = self.s3.give("PUT", &of_bucket(""), with_locks, b"")?;
        if made.status() != 409 {
            made.expect(200)?;
        }
        let kept = self.s3.call("GET", &of_bucket("versioning"), &[])?.expect(200)?;
        self.keeps.store(kept.xml("Status").as_deref() == Some("Enabled"), Ordering::Relaxed);
        self.keep(true)?;
        if self.locks {
            self.s3.give("PUT", &of_bucket("object-lock"), &[], LOCKED.as_bytes())?.expect(200)?;
        }
        Ok(())
    }

    /// Has a bucket of versions keep them from now on, or no more. Only one operation at a time asks for
    /// this.
    fn keep(&self, versions: bool) -> Result<()> {
        if !self.versions || self.keeps.load(Ordering::Relaxed) == versions {
            return Ok(());
        }
        let status = if versions { "Enabled" } else { "Suspended" };
        let asked =
            format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
        self.s3.give("PUT", &of_bucket("versioning"), &[], asked.as_bytes())?.expect(200)?;
        self.keeps.store(versions, Ordering::Relaxed);
        Ok(())
    }

    /// Versions that nothing keeps from being deleted.
    fn unlocked(&self) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        let versions = if self.locks { self.listed_versions()? } else { Vec::new() };
        for Listed { key, id, .. } in versions.iter().filter(|version| !version.is_marker) {
            let target = of_key(key, &format!("retention&versionId={id}"));
            let told = self.s3.call("GET", &target, &[])?;
            let mode = told.xml("Mode");
            if mode.as_deref() != Some("GOVERNANCE") {
                let words = format!("version {id} of {key} is not locked: {}", told.text());
                problems.push(words);
            }
        }
        Ok(problems)
    }

    /// The entries of all pages of a listing. `next` are the elements of a page, and the parameters of
    /// the query that they become.
    fn listed(&self, query: &str, entries: &[&str], next: &[(&str, &str)]) -> Result<Vec<String>> {
        let (mut found, mut behind) = (Vec::new(), String::new());
        loop {
            let page =
                self.s3.call("GET", &of_bucket(&format!("{query}{behind}")), &[])?.expect(200)?;
            found.extend(entries.iter().flat_map(|name| page.all_xml(name)));
            if page.xml("IsTruncated").as_deref() != Some("true") {
                return Ok(found);
            }
            let given = |(element, parameter): &(&str, &str)| {
                Some(format!("&{parameter}={}", encoded(&page.xml(element)?)))
            };
            behind = next.iter().filter_map(given).collect();
            if behind.is_empty() {
                return Err(Failure::Failed(format!("a page goes on nowhere: {}", page.text())));
            }
        }
    }

    fn objects(&self) -> Result<Vec<String>> {
        let query = format!("list-type=2&max-keys={PAGE}");
        self.listed(&query, &["Contents"], &[("NextContinuationToken", "continuation-token")])
    }

    /// All parts of the uploads of a key, or of all keys.
    fn parts_of(&self, key: Option<&str>) -> Result<Vec<Part>> {
        let query = format!("uploads&max-uploads={PAGE}");
        let next = [("NextKeyMarker", "key-marker"), ("NextUploadIdMarker", "upload-id-marker")];
        let mut parts = Vec::new();
        for upload in self.listed(&query, &["Upload"], &next)? {
            let (of, id) = (field(&upload, "Key")?, field(&upload, "UploadId")?);
            if key.is_none_or(|key| key == of) {
                parts.extend(self.parts_of_upload(&of, &id)?);
            }
        }
        Ok(parts)
    }

    /// The parts of one of the workload's uploads, and of no other that has its key.
    fn parts_put(&self, upload: &Upload) -> Result<Vec<Part>> {
        let mut parts = self.parts_of(Some(&upload.key))?;
        parts.retain(|part| numbers(upload).contains(&part.number));
        Ok(parts)
    }

    fn parts_of_upload(&self, key: &str, upload: &str) -> Result<Vec<Part>> {
        let page = self.s3.call("GET", &of_key(key, &format!("uploadId={upload}")), &[])?;
        let part = |part: String| {
            let crc32c = crc32c_of(&field(&part, "ChecksumCRC32C")?);
            Ok(Part {
                upload: upload.to_owned(),
                number: number(&part, "PartNumber")?,
                etag: field(&part, "ETag")?,
                len: number(&part, "Size")?,
                crc32c: crc32c.ok_or_else(|| Failure::Failed(format!("no CRC-32C: {part}")))?,
            })
        };
        page.expect(200)?.all_xml("Part").into_iter().map(part).collect()
    }

    fn begin_upload(&self, key: &str) -> Result<String> {
        let headers =
            [("x-amz-checksum-algorithm", "CRC32C"), ("x-amz-checksum-type", "FULL_OBJECT")];
        let begun = self.s3.give("POST", &of_key(key, "uploads"), &headers, b"")?.expect(200)?;
        field(&begun.text(), "UploadId")
    }

    fn is_there(&self, key: &str) -> Result<bool> {
        let head = self.s3.call("HEAD", &of_key(key, ""), &[])?;
        if head.status() == 404 {
            return Ok(false);
        }
        head.expect(200).map(|_| true)
    }

    /// An object, or one of its versions, whole; nothing where there is none.
    fn read(&self, key: &str, query: &str) -> Result<Option<Reply>> {
        let headers = [("x-amz-checksum-mode", "ENABLED")];
        let got = self.s3.call("GET", &of_key(key, query), &headers)?;
        if got.status() == 404 {
            return Ok(None);
        }
        let got = got.expect(200)?;
        let said = got.header("x-amz-checksum-crc32c");
        if let Some(said) = said.filter(|said| *said != crc32c_text(crc32c(&got.body))) {
            let words = format!("{key}: {} bytes have not the CRC-32C {said}", got.body.len());
            return Err(Failure::Damaged(words));
        }
        Ok(Some(got))
    }

    /// What listing says and what the objects' heads say has to be the same.
    fn listing_differs(&self) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        for listed in self.objects()? {
            let (key, etag) = (field(&listed, "Key")?, field(&listed, "ETag")?);
            let len: u64 = number(&listed, "Size")?;
            let head = self.s3.call("HEAD", &of_key(&key, ""), &[])?;
            let (head_len, head_etag) = (head.header("content-length"), head.header("etag"));
            if head_len != Some(&len.to_string()) || head_etag != Some(&etag) {
                problems.push(format!(
                    "{key} is listed as {len} bytes, {etag}, and its head says {head_len:?}, \
                     {head_etag:?}"
                ));
            }
        }
        Ok(problems)
    }

    /// Of the versions of each key one is the latest, and it is what is read under the key.
    fn latest_differs(&self) -> Result<Vec<String>> {
        let mut latest: BTreeMap<String, Vec<(String, bool)>> = BTreeMap::new();
        for version in self.listed_versions()? {
            let is_latest = field(&version.entry, "IsLatest")? == "true";
            let of_key = latest.entry(version.key).or_default();
            if is_latest {
                of_key.push((version.id, version.is_marker));
            }
        }
        let mut problems = Vec::new();
        for (key, latest) in latest {
            let head = self.s3.call("HEAD", &of_key(&key, ""), &[])?;
            let (id, is_there) = (head.header("x-amz-version-id"), head.status() == 200);
            match &latest[..] {
                [(version, is_marker)]
                    if id == Some(version.as_str()) && is_there != *is_marker => {}
                _ => problems.push(format!(
                    "of {key} the latest versions are {latest:?}, and its head is {} of {id:?}",
                    head.status()
                )),
            }
        }
        Ok(problems)
    }

    fn listed_versions(&self) -> Result<Vec<Listed>> {
        if !self.versions {
            return Ok(Vec::new());
        }
        let query = format!("versions&max-keys={PAGE}");
        let next = [("NextKeyMarker", "key-marker"), ("NextVersionIdMarker", "version-id-marker")];
        let of_element = |element: &str, is_marker: bool| {
            let entries = self.listed(&query, &[element], &next)?;
            let listed = |entry: String| {
                let (key, id) = (field(&entry, "Key")?, field(&entry, "VersionId")?);
                Ok(Listed { key, id, is_marker, entry })
            };
            entries.into_iter().map(listed).collect::<Result<Vec<_>>>()
        };
        Ok([of_element("Version", false)?, of_element("DeleteMarker", true)?].concat())
    }

    /// The stores have no parts but those that are listed, and no bytes but those of objects and parts.
    fn leak(&self) -> Result<Option<String>> {
        let listed = self.parts_of(None)?;
        let part_bytes: u64 = listed.iter().map(|part| part.len).sum();
        let began = Instant::now();
        loop {
            let stats = self.admin.told("/api/stats")?;
            let sum = |pointer: &str| sum(&stats["partitions"], pointer);
            let (parts, live) = (sum("/parts"), sum("/total/live_bytes"));
            let named = sum("/object_bytes") + part_bytes;
            if parts == listed.len() as u64 && live == named {
                return Ok(None);
            }
            if began.elapsed() > PATIENCE {
                return Ok(Some(format!(
                    "{parts} parts, {live} bytes live; listed are {} parts, and objects and parts \
                     have {named} bytes",
                    listed.len()
                )));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A version as the server lists it.
#[derive(Clone, Debug)]
struct Listed {
    key: String,
    id: String,
    is_marker: bool,
    entry: String,
}

impl Store for Open {
    fn put(&self, key: &str, value: &[u8], how: &How) -> Result<()> {
        self.keep(true)?;
        let sum = crc32c_text(crc32c(value));
        let headers = [&[("x-amz-checksum-crc32c", sum.as_str())][..], conditions(how)].concat();
        put(self.s3.give("PUT", &of_key(key, ""), &headers, value)?, how)
    }

    fn delete(&self, key: &str, _durability: Durability) -> Result<bool> {
        let was_there = self.is_there(key)?;
        self.s3.call("DELETE", &of_key(key, ""), &[])?.expect(204)?;
        Ok(was_there)
    }

    /// Deletes alone: S3 has no other batches.
    fn batch(&self, steps: &[(String, Option<Vec<u8>>)], _durability: Durability) -> Result<()> {
        if steps.iter().any(|(_, value)| value.is_some()) {
            return Err(Failure::Unsupported);
        }
        let object = |(key, _): &(String, _)| format!("<Object><Key>{key}</Key></Object>");
        let objects: String = steps.iter().map(object).collect();
        let asked = format!("<Delete>{objects}</Delete>");
        self.s3.give("POST", &of_bucket("delete"), &[], asked.as_bytes())?.expect(200).map(drop)
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.read(key, "")?.map(|got| got.body))
    }

    fn keys(&self) -> Result<Vec<String>> {
        self.objects()?.iter().map(|object| field(object, "Key")).collect()
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        let Open { running, .. } = *self;
        running.stop().map_err(Failure::Failed)
    }

    fn stream(&self, key: &str, value: &[u8], how: &How) -> Result<()> {
        self.keep(true)?;
        let mut pieces = Pieces { left: value, breaks_off: false };
        put(self.s3.pour("PUT", &of_key(key, ""), conditions(how), &mut pieces)?, how)
    }

    fn abandon(&self, key: &str, value: &[u8]) -> Result<()> {
        let mut pieces = Pieces { left: value, breaks_off: true };
        match self.s3.pour("PUT", &of_key(key, ""), &[], &mut pieces) {
            Err(_) => Ok(()),
            Ok(reply) => {
                Err(Failure::Failed(format!("half a body was answered: {}", reply.status())))
            }
        }
    }

    fn put_part(&self, upload: &Upload, value: &[u8]) -> Result<()> {
        let there = self.parts_put(upload)?;
        let last = there.iter().max_by_key(|part| part.number);
        let number = last.map_or(numbers(upload).start, |part| part.number + 1);
        let id = match last {
            Some(part) => part.upload.clone(),
            None => self.begin_upload(&upload.key)?,
        };
        let sum = crc32c_text(crc32c(value));
        let target = of_key(&upload.key, &format!("partNumber={number}&uploadId={id}"));
        let headers: [Header<'_>; 1] = [("x-amz-checksum-crc32c", &sum)];
        self.s3.give("PUT", &target, &headers, value)?.expect(200).map(drop)
    }

    fn parts(&self) -> Result<Vec<(u64, u32)>> {
        Ok(self.parts_of(None)?.iter().map(|part| (part.len, part.crc32c)).collect())
    }

    fn assemble(&self, upload: &Upload, parts: &[u32], _durability: Durability) -> Result<()> {
        let there = self.parts_of(Some(&upload.key))?;
        let find = |crc32c: &u32| there.iter().find(|part| part.crc32c == *crc32c);
        let parts: Vec<&Part> =
            parts.iter().map(find).collect::<Option<_>>().ok_or(Failure::Refused)?;
        let Some(Part { upload: id, .. }) = parts.first() else { return Err(Failure::Refused) };
        self.keep(true)?;
        let part = |part: &&Part| {
            let (number, etag, sum) = (part.number, &part.etag, crc32c_text(part.crc32c));
            format!(
                "<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag>\
                 <ChecksumCRC32C>{sum}</ChecksumCRC32C></Part>"
            )
        };
        let parts: String = parts.iter().map(part).collect();
        let asked = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        let target = of_key(&upload.key, &format!("uploadId={id}"));
        self.s3.give("POST", &target, &[], asked.as_bytes())?.expect(200).map(drop)
    }

    fn append(&self, key: &str, before: Print, value: &[u8]) -> Result<()> {
        if self.get(key)?.is_none_or(|bytes| Print::of(&bytes) != before) {
            return Err(Failure::Refused);
        }
        let offset = before.len.to_string();
        let headers: [Header<'_>; 1] = [("x-amz-write-offset-bytes", &offset)];
        self.s3.give("PUT", &of_key(key, ""), &headers, value)?.expect(200).map(drop)
    }

    fn copy(&self, key: &str, before: Print, to: &str) -> Result<()> {
        if self.get(key)?.is_none_or(|bytes| Print::of(&bytes) != before) {
            return Err(Failure::Refused);
        }
        let source = format!("/{BUCKET}/{key}");
        let headers: [Header<'_>; 1] = [("x-amz-copy-source", &source)];
        self.s3.give("PUT", &of_key(to, ""), &headers, b"")?.expect(200).map(drop)
    }

    fn move_all(&self) -> Result<()> {
        let told = self.admin.told("/api/buckets")?;
        let buckets = told["buckets"].as_array().into_iter().flatten();
        let ours = buckets.filter(|bucket| bucket["name"] == BUCKET);
        let lies_in = ours.filter_map(|bucket| bucket["partition"].as_u64()).next();
        let lies_in = lies_in.ok_or_else(|| Failure::Failed(format!("no partition: {told}")))?;
        let asked = json!({ "bucket": BUCKET, "partition": 1 - lies_in.min(1) });
        self.admin.job("move-bucket", &asked).map(drop)
    }

    fn delete_kept(&self, key: &str) -> Result<Option<String>> {
        if !self.is_there(key)? {
            return Ok(None);
        }
        self.keep(true)?;
        let deleted = self.s3.call("DELETE", &of_key(key, ""), &[])?.expect(204)?;
        match deleted.header("x-amz-version-id") {
            Some(id) => Ok(Some(id.to_owned())),
            None => Err(Failure::Failed("a delete has left no version behind".to_owned())),
        }
    }

    fn put_null(&self, key: &str, value: &[u8]) -> Result<()> {
        self.keep(false)?;
        let reply = self.s3.give("PUT", &of_key(key, ""), &[], value)?.expect(200)?;
        is_of(&reply, None)
    }

    fn delete_null(&self, key: &str) -> Result<bool> {
        if !self.is_there(key)? {
            return Ok(false);
        }
        self.keep(false)?;
        let reply = self.s3.call("DELETE", &of_key(key, ""), &[])?.expect(204)?;
        is_of(&reply, Some(NULL)).map(|()| true)
    }

    fn abort(&self, upload: &Upload) -> Result<bool> {
        let there = self.parts_put(upload)?;
        let Some(part) = there.first() else { return Ok(false) };
        let target = of_key(&upload.key, &format!("uploadId={}", part.upload));
        self.s3.call("DELETE", &target, &[])?.expect(204).map(|_| true)
    }

    fn versions(&self) -> Result<Vec<Version>> {
        let mut versions = Vec::new();
        for Listed { key, id, is_marker, .. } in self.listed_versions()? {
            let value = match is_marker {
                true => None,
                false => {
                    let got = self.read(&key, &format!("versionId={id}"))?;
                    let missing = || format!("version {id} of {key} is listed, and is not there");
                    Some(got.ok_or_else(|| Failure::Failed(missing()))?.body)
                }
            };
            versions.push(Version { key, id, value });
        }
        Ok(versions)
    }

    fn compact(&self) -> Result<()> {
        self.admin.job("compact", &json!({ "min_garbage": 0.0 })).map(drop)
    }

    fn verify(&self) -> Result<Vec<String>> {
        let verified = self.admin.job("verify", &json!({}))?;
        let found = verified["problems"].as_array().into_iter().flatten();
        let problems = found.map(Value::to_string);
        let differs = self.listing_differs()?.into_iter().chain(self.latest_differs()?);
        Ok(problems.chain(differs).chain(self.unlocked()?).chain(self.leak()?).collect())
    }
}

/// Fails unless this is what an answer calls the version that was put or deleted.
fn is_of(reply: &Reply, version: Option<&str>) -> Result<()> {
    match reply.header("x-amz-version-id") {
        other if other == version => Ok(()),
        other => Err(Failure::Failed(format!("a version without an id is called {other:?}"))),
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left.is_empty() && self.breaks_off {
            return Err(io::Error::other("the body is given up"));
        }
        let len = self.left.len().min(into.len()).min(PIECE_BYTES);
        let (piece, rest) = self.left.split_at(len);
        into[..len].copy_from_slice(piece);
        self.left = rest;
        Ok(len)
    }
}

fn of_bucket(query: &str) -> String {
    target(&format!("/{BUCKET}"), query)
}

fn of_key(key: &str, query: &str) -> String {
    target(&format!("/{BUCKET}/{key}"), query)
}

fn target(path: &str, query: &str) -> String {
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// The numbers that an upload's parts may have.
fn numbers(upload: &Upload) -> std::ops::Range<u32> {
    let first = upload.number * PARTS + 1;
    first..first + PARTS
}

fn conditions(how: &How) -> &'static [Header<'static>] {
    match how.when {
        When::Always => &[],
        // A body that is refused is not read, and the connection ends with it.
        When::IfAbsent => &[("if-none-match", "*"), ("connection", "close")],
        When::IfPresent => &[("if-match", "*"), ("connection", "close")],
    }
}

/// The end of a put: where its key has to be there and is not, S3 says that it is not.
fn put(reply: Reply, how: &How) -> Result<()> {
    if how.when == When::IfPresent && reply.status() == 404 {
        return Err(Failure::Refused);
    }
    reply.expect(200).map(drop)
}

fn field(entry: &str, name: &str) -> Result<String> {
    xml(entry, name).ok_or_else(|| Failure::Failed(format!("there is no {name} in {entry}")))
}

fn number<T: std::str::FromStr>(entry: &str, name: &str) -> Result<T> {
    let wrong = || Failure::Failed(format!("{name} is no number in {entry}"));
    field(entry, name)?.parse().map_err(|_| wrong())
}

/// A number of each partition, all together.
fn sum(partitions: &Value, pointer: &str) -> u64 {
    let all = partitions.as_array().into_iter().flatten();
    all.filter_map(|partition| partition.pointer(pointer)?.as_u64()).sum()
}
