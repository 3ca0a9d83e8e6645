//! `ListObjectVersions`: the rows of objects and of versions, merged by key.

use s3s::dto::{
    CommonPrefix, DeleteMarkerEntry, ListObjectVersionsInput, ListObjectVersionsOutput,
    ObjectVersion, ObjectVersionStorageClass,
};
use s3s::{S3Request, S3Response, s3_error};

use super::told::{self, Names};
use crate::data::buckets::Bucket;
use crate::data::scan::Scan;
use crate::data::versions::{Place, Which};
use crate::data::{blocking, keys};
use crate::error::{Error, Result};
use crate::service::Service;

const MAX_KEYS: i32 = 1000;
/// Sorts behind all that a key may go on with: keys are text.
const END: u8 = 0xff;

struct Asked {
    prefix: String,
    after: Option<(String, Option<Which>)>,
    delimiter: Option<String>,
    max_keys: usize,
    names: Names,
}

#[derive(Default)]
struct Listed {
    versions: Vec<ObjectVersion>,
    markers: Vec<DeleteMarkerEntry>,
    prefixes: Vec<CommonPrefix>,
    /// The last entry: a key and a version, or a common prefix.
    last: Option<(String, Option<String>)>,
    is_truncated: bool,
}

pub async fn call(
    service: &Service,
    request: S3Request<ListObjectVersionsInput>,
) -> Result<S3Response<ListObjectVersionsOutput>> {
    let input = request.input;
    let bucket = service.bucket(&input.bucket)?;
    let names = Names::new(input.encoding_type.as_ref())?;
    let max_keys = told::page_len(input.max_keys, MAX_KEYS)?;
    let version = match told::given(input.version_id_marker.clone()) {
        Some(text) => Some(told::which(Some(&text))?),
        None => None,
    };
    let after = told::given(input.key_marker.clone());
    if version.is_some() && after.is_none() {
        return Err(s3_error!(
            InvalidArgument,
            "A version-id marker cannot be specified without a key marker."
        )
        .into());
    }
    let delimiter = told::given(input.delimiter);
    let asked = Asked {
        prefix: input.prefix.clone().unwrap_or_default(),
        after: after.map(|key| (key, version)),
        delimiter: delimiter.clone(),
        max_keys: usize::try_from(max_keys).unwrap_or(0),
        names,
    };
    let listed = blocking(move || list(&bucket, &asked)).await?;
    let write = |name: String| names.write(&name);
    let (next_key, next_version) = match listed.last.filter(|_| listed.is_truncated) {
        Some((key, version)) => (Some(write(key)), version),
        None => (None, None),
    };
    Ok(S3Response::new(ListObjectVersionsOutput {
        name: Some(input.bucket),
        prefix: Some(write(input.prefix.unwrap_or_default())),
        key_marker: Some(write(input.key_marker.unwrap_or_default())),
        version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
        max_keys: Some(max_keys),
        is_truncated: Some(listed.is_truncated),
        versions: Some(listed.versions),
        delete_markers: Some(listed.markers),
        common_prefixes: Some(listed.prefixes),
        delimiter: delimiter.map(write),
        next_key_marker: next_key,
        next_version_id_marker: next_version,
        encoding_type: input.encoding_type,
        ..ListObjectVersionsOutput::default()
    }))
}

fn list(bucket: &Bucket, asked: &Asked) -> Result<Listed> {
    let (store, id) = (&*bucket.store, bucket.id);
    let object_after = asked.after.as_ref().map(|(key, _)| keys::object(id, key));
    let mut objects = Scan::new(store, keys::object(id, &asked.prefix)).behind(object_after);
    let version_prefix = [&keys::all_versions(id)[..], asked.prefix.as_bytes()].concat();
    let mut versions = Scan::new(store, version_prefix).behind(version_after(bucket, asked)?);
    let mut listed = Listed::default();
    // The key whose newest entry was listed before.
    let mut begun = asked.after.as_ref().and_then(|(key, version)| version.map(|_| key.clone()));
    let mut left = asked.max_keys;
    if left == 0 {
        // Behind a page without entries there is no next one.
        return Ok(listed);
    }
    // The key that has its bytes in the object's own row.
    let mut plain = match &begun {
        Some(key) => bucket.key(key).current()?.filter(Place::is_plain).map(|_| key.clone()),
        None => None,
    };
    loop {
        let object = objects
            .peek()?
            .map(|(row, _)| keys::object_text(row).map(str::to_owned))
            .transpose()?;
        let version = versions.peek()?.map(|(row, _)| version_key(row)).transpose()?;
        let Some(key) = [&object, &version].into_iter().flatten().min().cloned() else { break };
        if let Some(common) = common_prefix(asked, &key) {
            let is_new = asked.after.as_ref().is_none_or(|(after, _)| *after != common);
            if is_new {
                if left == 0 {
                    listed.is_truncated = true;
                    break;
                }
                left -= 1;
                listed.prefixes.push(CommonPrefix { prefix: Some(asked.names.write(&common)) });
                listed.last = Some((common.clone(), None));
            }
            let behind = |row: Vec<u8>| [&row[..], common.as_bytes(), &[END]].concat();
            objects.skip_to(behind(keys::objects(id)));
            versions.skip_to(behind(keys::all_versions(id)));
            continue;
        }
        let is_object = object.as_ref() == Some(&key);
        let (_, info) =
            if is_object { objects.next() } else { versions.next() }.expect("it was seen")?;
        let place = Place::of(id, &key, info)?;
        if is_object && !place.is_plain() {
            // Its version's row follows.
            continue;
        }
        if is_object {
            plain = Some(key.clone());
        }
        if place.is_null() && plain.as_ref() == Some(&key) {
            // What is in the object's own row has taken its place; a crash came before it went.
            continue;
        }
        if left == 0 {
            listed.is_truncated = true;
            break;
        }
        left -= 1;
        let is_latest = begun.as_ref() != Some(&key);
        listed.last = Some((key.clone(), Some(place.version())));
        listed.add(&key, &place, is_latest, asked.names);
        begun = Some(key);
    }
    Ok(listed)
}

/// Behind which of the versions' rows the page begins.
fn version_after(bucket: &Bucket, asked: &Asked) -> Result<Option<Vec<u8>>> {
    let Some((key, version)) = &asked.after else { return Ok(None) };
    let all = keys::versions(bucket.id, key);
    Ok(Some(match version {
        Some(Which::Id(id)) => keys::version(bucket.id, key, *id),
        Some(Which::Null) => match bucket.key(key).null()? {
            Some(null) => null.row,
            // It is the object's own row, which is listed before all.
            None => all,
        },
        Some(Which::Current) | None => [&all[..], &[END]].concat(),
    }))
}

/// What of a key is listed in its place.
fn common_prefix(asked: &Asked, key: &str) -> Option<String> {
    let delimiter = asked.delimiter.as_deref()?;
    let at = key.get(asked.prefix.len()..)?.find(delimiter)?;
    Some(key[..asked.prefix.len() + at + delimiter.len()].to_owned())
}

fn version_key(row: &[u8]) -> Result<String> {
    match keys::parse_version(row) {
        Some((key, _)) => Ok(key.to_owned()),
        None => Err(Error::damaged("a version's row has no version's name")),
    }
}

impl Listed {
    fn add(&mut self, key: &str, place: &Place, is_latest: bool, names: Names) {
        let version_id = Some(place.version());
        let (key, last_modified) = (names.write(key), told::time(place.info.created_ms));
        if place.is_marker() {
            self.markers.push(DeleteMarkerEntry {
                is_latest: Some(is_latest),
                key: Some(key),
                last_modified: Some(last_modified),
                owner: Some(told::owner()),
                version_id,
            });
            return;
        }
        let checksum = place.attributes.checksum.as_ref();
        self.versions.push(ObjectVersion {
            checksum_algorithm: checksum
                .map(|checksum| vec![told::checksum_algorithm(checksum.algorithm)]),
            checksum_type: checksum.map(told::checksum_type),
            e_tag: Some(told::etag(place.attributes.etag)),
            is_latest: Some(is_latest),
            key: Some(key),
            last_modified: Some(last_modified),
            owner: Some(told::owner()),
            size: Some(told::len(place.info.len)),
            storage_class: Some(ObjectVersionStorageClass::from_static(
                ObjectVersionStorageClass::STANDARD,
            )),
            version_id,
            ..ObjectVersion::default()
        });
    }
}
