//! Amazon's client for Rust: objects, conditions, checksums, ranges, listings, multipart uploads,
//! versions, presigned URLs. Settings come from the environment: `KOGIA_ENDPOINT`, `AWS_ACCESS_KEY_ID`,
//! `AWS_SECRET_ACCESS_KEY`.

use std::env;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Credentials, Region};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketVersioningStatus, ChecksumAlgorithm, ChecksumMode, CompletedMultipartUpload,
    CompletedPart, Delete, ObjectIdentifier, VersioningConfiguration,
};

const BUCKET: &str = "with-aws-sdk";
const PART_BYTES: usize = 5 << 20;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() {
    let client = client();
    if let Err(error) = run(&client).await {
        eprintln!("{}", DisplayErrorContext(&*error));
        std::process::exit(1);
    }
}

fn client() -> Client {
    let variable = |name: &str| env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let credentials = Credentials::new(
        variable("AWS_ACCESS_KEY_ID"),
        variable("AWS_SECRET_ACCESS_KEY"),
        None,
        None,
        "environment",
    );
    let config = aws_sdk_s3::Config::builder()
        .endpoint_url(variable("KOGIA_ENDPOINT"))
        .region(Region::new("us-east-1"))
        .credentials_provider(credentials)
        .force_path_style(true)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ (at >> 8)) as u8).collect()
}

async fn run(s3: &Client) -> Outcome {
    s3.create_bucket().bucket(BUCKET).send().await?;
    objects(s3).await?;
    listings(s3).await?;
    upload(s3).await?;
    versions(s3).await?;
    s3.delete_bucket().bucket(BUCKET).send().await?;
    println!("objects, listings, uploads, versions: all as they should be");
    Ok(())
}

async fn put(s3: &Client, key: &str, body: Vec<u8>) -> Outcome<Option<String>> {
    let put = s3.put_object().bucket(BUCKET).key(key).body(ByteStream::from(body));
    Ok(put.send().await?.version_id)
}

async fn get(s3: &Client, key: &str) -> Outcome<Vec<u8>> {
    let got = s3.get_object().bucket(BUCKET).key(key).checksum_mode(ChecksumMode::Enabled);
    Ok(got.send().await?.body.collect().await?.to_vec())
}

async fn delete(s3: &Client, key: &str) -> Outcome {
    s3.delete_object().bucket(BUCKET).key(key).send().await?;
    Ok(())
}

async fn objects(s3: &Client) -> Outcome {
    for algorithm in [
        ChecksumAlgorithm::Crc32,
        ChecksumAlgorithm::Crc32C,
        ChecksumAlgorithm::Crc64Nvme,
        ChecksumAlgorithm::Sha1,
        ChecksumAlgorithm::Sha256,
    ] {
        let put = s3.put_object().bucket(BUCKET).key("a key/ü").metadata("camera", "door");
        let put = put.checksum_algorithm(algorithm.clone()).body(ByteStream::from(bytes(300_000)));
        put.send().await?;
        assert!(get(s3, "a key/ü").await? == bytes(300_000), "{algorithm}");
    }
    let head = s3.head_object().bucket(BUCKET).key("a key/ü").send().await?;
    assert_eq!(head.content_length, Some(300_000));
    assert_eq!(head.metadata.unwrap_or_default()["camera"], "door");
    let range = s3.get_object().bucket(BUCKET).key("a key/ü").range("bytes=1000-1999");
    assert!(range.send().await?.body.collect().await?.to_vec() == bytes(300_000)[1000..2000]);

    let once = s3.put_object().bucket(BUCKET).key("a key/ü").if_none_match("*");
    let refused = once.body(ByteStream::from_static(b"x")).send().await.unwrap_err();
    assert_eq!(refused.code(), Some("PreconditionFailed"));
    let missing = s3.get_object().bucket(BUCKET).key("nothing").send().await.unwrap_err();
    assert!(missing.into_service_error().is_no_such_key());

    let copy = s3.copy_object().bucket(BUCKET).key("copy");
    copy.copy_source(format!("{BUCKET}/a%20key/%C3%BC")).send().await?;
    assert!(get(s3, "copy").await? == bytes(300_000));

    let signed = PresigningConfig::expires_in(Duration::from_secs(60))?;
    let signed = s3.get_object().bucket(BUCKET).key("copy").presigned(signed).await?;
    assert!(signed.uri().contains("X-Amz-Signature="), "{}", signed.uri());
    for key in ["a key/ü", "copy"] {
        delete(s3, key).await?;
    }
    Ok(())
}

async fn listings(s3: &Client) -> Outcome {
    for number in 0..25 {
        put(s3, &format!("folder-{}/{number}", number % 5), bytes(number)).await?;
    }
    let list = s3.list_objects_v2().bucket(BUCKET).delimiter("/").send().await?;
    assert_eq!(list.common_prefixes().len(), 5);
    let mut keys = Vec::new();
    let mut pages = s3.list_objects_v2().bucket(BUCKET).max_keys(7).into_paginator().send();
    while let Some(page) = pages.next().await {
        keys.extend(page?.contents().iter().filter_map(|object| object.key.clone()));
    }
    assert_eq!(keys.len(), 25);
    assert!(keys.is_sorted());
    let named = |key| ObjectIdentifier::builder().key(key).build();
    let all = keys.into_iter().map(named).collect::<Result<Vec<_>, _>>()?;
    let all = Delete::builder().set_objects(Some(all)).build()?;
    let deleted = s3.delete_objects().bucket(BUCKET).delete(all).send().await?;
    assert_eq!((deleted.deleted().len(), deleted.errors().len()), (25, 0));
    Ok(())
}

async fn upload(s3: &Client) -> Outcome {
    let begin = s3.create_multipart_upload().bucket(BUCKET).key("large");
    let begun = begin.checksum_algorithm(ChecksumAlgorithm::Crc32).send().await?;
    let id = begun.upload_id.expect("an upload has a name");
    let whole = bytes(2 * PART_BYTES + 1000);
    let mut parts = Vec::new();
    for (number, piece) in (1..).zip(whole.chunks(PART_BYTES)) {
        let part = s3.upload_part().bucket(BUCKET).key("large").upload_id(&id).part_number(number);
        let part = part.checksum_algorithm(ChecksumAlgorithm::Crc32);
        let sent = part.body(ByteStream::from(piece.to_vec())).send().await?;
        let done = CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag);
        parts.push(done.set_checksum_crc32(sent.checksum_crc32).build());
    }
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let end = s3.complete_multipart_upload().bucket(BUCKET).key("large").upload_id(&id);
    end.multipart_upload(parts).send().await?;
    assert!(get(s3, "large").await? == whole);
    delete(s3, "large").await
}

async fn versions(s3: &Client) -> Outcome {
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled);
    let set = s3.put_bucket_versioning().bucket(BUCKET);
    set.versioning_configuration(enabled.build()).send().await?;
    let mut named = Vec::new();
    for body in ["first", "second"] {
        named.push(put(s3, "key", body.into()).await?.expect("a version has a name"));
    }
    delete(s3, "key").await?;
    let first = s3.get_object().bucket(BUCKET).key("key").version_id(&named[0]).send().await?;
    assert_eq!(first.body.collect().await?.to_vec(), b"first");
    let listed = s3.list_object_versions().bucket(BUCKET).send().await?;
    assert_eq!((listed.versions().len(), listed.delete_markers().len()), (2, 1));
    let markers = listed.delete_markers().iter().filter_map(|marker| marker.version_id.clone());
    for version in named.into_iter().chain(markers) {
        s3.delete_object().bucket(BUCKET).key("key").version_id(version).send().await?;
    }
    Ok(())
}
