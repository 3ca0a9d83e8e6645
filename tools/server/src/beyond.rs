//! What a request asks for beyond what its operation does. s3s finds the operation by what it knows, and
//! goes by what is left where it knows nothing: `DELETE key?annotation` would delete the key. Nobody is
//! to believe that what was asked for was done, nor to lose anything by asking.

use hyper::HeaderMap;
use hyper::header::HeaderName;
use s3s::{S3Result, s3_error};

use crate::access::OWNER;
use crate::error::not_implemented;

/// What buckets and objects have in S3 beside themselves. Where there is an operation for one, s3s has
/// found that.
const SUBRESOURCES: &[&str] = &[
    "abac",
    "accelerate",
    "acl",
    "analytics",
    "annotation",
    "annotations",
    "attributes",
    "cors",
    "delete",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metadataAnnotationTable",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "session",
    "tagging",
    "torrent",
    "uploads",
    "versioning",
    "versions",
    "website",
];
/// What names a part of an upload: with one of them missing, or on another method, it names nothing.
const OF_PARTS: &[&str] = &["partNumber", "uploadId"];

const ENCRYPTION: &[&str] =
    &["x-amz-server-side-encryption", "x-amz-copy-source-server-side-encryption"];
const EXPECTED_OWNERS: &[&str] =
    &["x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner"];
/// That nobody but the bucket's owner has anything in it.
const ONE_OWNER: &str = "BucketOwnerEnforced";

/// Fails where a request asks for more than the operation of this name.
pub fn check(operation: &str, query: Option<&str>, headers: &HeaderMap) -> S3Result<()> {
    check_query(operation, query.unwrap_or_default())?;
    check_headers(operation, headers)
}

fn check_query(operation: &str, query: &str) -> S3Result<()> {
    let writes = match operation {
        "CopyObject" | "CreateBucket" | "DeleteBucket" | "DeleteObject" | "PutObject" => true,
        "GetObject" | "HeadBucket" | "HeadObject" | "ListObjects" | "ListObjectsV2" => false,
        // What has a subresource, or is posted.
        _ => return Ok(()),
    };
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if writes && OF_PARTS.contains(&&*name) {
            return Err(s3_error!(
                InvalidArgument,
                "A part is put or copied by PUT, with both partNumber and uploadId; an upload is aborted \
                 by DELETE, with uploadId"
            ));
        }
        // One that S3 may have by now, and this server has never heard of.
        let may_be_one = || value.is_empty() && !is_parameter(&name);
        if SUBRESOURCES.contains(&&*name) || (writes && may_be_one()) {
            return Err(not_implemented(&format!("?{name}")));
        }
    }
    Ok(())
}

/// What says something of a request whatever it is for, also where its value is empty.
fn is_parameter(name: &str) -> bool {
    let begins = |with: &str| name.get(..with.len()).is_some_and(|b| b.eq_ignore_ascii_case(with));
    begins("x-") || name == "versionId"
}

fn check_headers(operation: &str, headers: &HeaderMap) -> S3Result<()> {
    let asks = |names: &[&str]| {
        let is_one = |name: &HeaderName| names.iter().any(|one| name.as_str().starts_with(one));
        headers.keys().any(is_one)
    };
    if asks(ENCRYPTION) {
        return Err(match operation {
            "GetObject" | "GetObjectAttributes" | "HeadObject" => s3_error!(
                InvalidRequest,
                "The encryption parameters are not applicable to this object."
            ),
            _ => not_implemented("server-side encryption"),
        });
    }
    let differs = |name: &&str, from: &str| {
        headers.get_all(*name).iter().any(|value| value.as_bytes() != from.as_bytes())
    };
    if EXPECTED_OWNERS.iter().any(|name| differs(name, OWNER)) {
        return Err(s3_error!(AccessDenied, "The bucket's owner is another one: {}", OWNER));
    }
    if differs(&"x-amz-object-ownership", ONE_OWNER) {
        return Err(not_implemented("objects that are not the bucket owner's"));
    }
    if headers.get("content-md5").is_some_and(|digest| digest.is_empty()) {
        return Err(s3_error!(InvalidDigest, "The Content-MD5 you specified was invalid"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_something_else_is_not_taken_for_the_thing_itself() {
        let refused = [
            ("DeleteObject", "annotation"),
            ("DeleteObject", "annotation=name"),
            ("DeleteObject", "what-S3-has-next-year"),
            ("DeleteObject", "acl="),
            ("DeleteObject", "uploadid&versionId=1"),
            ("DeleteBucket", "metadataConfiguration"),
            ("PutObject", "x-id=PutObject&encryption"),
            ("PutObject", "%61cl"),
            ("PutObject", "uploadId=1"),
            ("PutObject", "partNumber=1"),
            ("CreateBucket", "abac"),
            ("GetObject", "torrent"),
            ("ListObjects", "abac"),
        ];
        for (operation, query) in refused {
            assert!(check_query(operation, query).is_err(), "{operation} {query}");
        }
        let taken = [
            ("DeleteObject", "versionId="),
            ("DeleteObject", "x-id=DeleteObject"),
            ("PutObject", "X-Amz-Security-Token=&X-Amz-Signature=1"),
            ("PutObject", "who-asks=me"),
            ("PutObject", ""),
            ("GetObject", "1732704000"),
            ("GetObject", "partNumber=1&response-content-type="),
            ("ListObjectsV2", "list-type=2&prefix=&delimiter"),
            ("PutObjectAcl", "acl"),
            ("UploadPart", "partNumber=1&uploadId=1"),
            ("AbortMultipartUpload", "uploadId=1"),
        ];
        for (operation, query) in taken {
            assert!(check_query(operation, query).is_ok(), "{operation} {query}");
        }
    }
}
