//! Who may do what: access keys, and rules by bucket.
//!
//! An access key has rules; each gives a right on the buckets that its pattern matches. Requests
//! without a signature have the rules of `anonymous`, none by default. A request needs one right on
//! the bucket that it names, and a copy needs [`Right::Read`] on its source as well. What does not
//! name a bucket (the list of buckets) shows those that one may read.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{Credentials, S3Auth, SecretKey};
use s3s::dto::PostObjectInput;
use s3s::path::check_key;
use s3s::{S3Request, S3Result, s3_error};
use serde::Deserialize;
use subtle::{Choice, ConstantTimeEq};

use crate::beyond;
use crate::bodies::BodyFault;

/// The one owner of everything: there are no accounts.
pub const OWNER: &str = "kogia";

/// What a rule allows; each includes those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Listing and reading.
    Read,
    /// Putting and deleting objects, too.
    Write,
    /// Creating, deleting and configuring the bucket, too.
    Admin,
}

/// A right on buckets.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// A bucket's name, or what it begins with and a `*`.
    pub bucket: String,
    pub access: Right,
}

/// An access key.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessKey {
    pub access_key: String,
    pub secret_key: String,
    /// What it may do; without any, everything.
    #[serde(default, rename = "rule")]
    pub rules: Vec<Rule>,
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKey").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// All keys and their rules.
#[derive(Clone, Debug)]
pub struct Access(Arc<Keys>);

#[derive(Debug)]
struct Keys {
    by_name: HashMap<String, AccessKey>,
    anonymous: Vec<Rule>,
}

/// The name of the operation that a request turned out to be, for the log and the metrics.
#[derive(Clone, Default, Debug)]
pub struct Operation(Arc<OnceLock<String>>);

/// That a put is that of a form, which has an answer of its own.
#[derive(Clone, Copy, Debug)]
pub struct Posted {
    /// Whether the answer says where to go to.
    pub redirects: bool,
}

impl Operation {
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.get().map_or("none", String::as_str)
    }
}

impl Rule {
    fn matches(&self, bucket: &str) -> bool {
        match self.bucket.strip_suffix('*') {
            Some(prefix) => bucket.starts_with(prefix),
            None => bucket == self.bucket,
        }
    }
}

impl Access {
    #[must_use]
    pub fn new(keys: Vec<AccessKey>, anonymous: Vec<Rule>) -> Self {
        let by_name = keys.into_iter().map(|key| (key.access_key.clone(), key)).collect();
        Access(Arc::new(Keys { by_name, anonymous }))
    }

    /// Whether whoever signed with `credentials`, or nobody, has a right on a bucket.
    #[must_use]
    pub fn allows(&self, credentials: Option<&Credentials>, bucket: &str, right: Right) -> bool {
        let rules = match credentials {
            Some(credentials) => match self.0.by_name.get(&credentials.access_key) {
                Some(key) if key.rules.is_empty() => return true,
                Some(key) => &key.rules,
                None => return false,
            },
            None => &self.0.anonymous,
        };
        rules.iter().any(|rule| rule.access >= right && rule.matches(bucket))
    }

    /// Whether these are the name and the secret of an access key without rules, which may do
    /// everything. How long it takes says nothing of either, but for their lengths.
    #[must_use]
    pub fn has_all_rights(&self, access_key: &str, secret_key: &str) -> bool {
        let all = self.0.by_name.values().filter(|key| key.rules.is_empty());
        let found = all.fold(Choice::from(0), |found, key| {
            let name = key.access_key.as_bytes().ct_eq(access_key.as_bytes());
            found | (name & key.secret_key.as_bytes().ct_eq(secret_key.as_bytes()))
        });
        found.into()
    }

    /// The same as an answer.
    pub fn check(
        &self,
        credentials: Option<&Credentials>,
        bucket: &str,
        right: Right,
    ) -> S3Result<()> {
        if self.allows(credentials, bucket, right) {
            return Ok(());
        }
        Err(s3_error!(AccessDenied, "Access Denied"))
    }
}

#[async_trait::async_trait]
impl S3Auth for Access {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.0.by_name.get(access_key) {
            Some(key) => Ok(SecretKey::from(key.secret_key.as_str())),
            None => Err(s3_error!(
                InvalidAccessKeyId,
                "The AWS Access Key Id you provided does not exist in our records."
            )),
        }
    }
}

#[async_trait::async_trait]
impl S3Access for Access {
    /// Called with each request, when its signature has been verified and before its body is read.
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let name = cx.s3_op().name().to_owned();
        let right = right_for(&name);
        let is_stream = matches!(&*name, "PostObject" | "PutObject" | "UploadPart");
        if let Some(fault) = cx.extensions_mut().get::<BodyFault>().filter(|_| !is_stream) {
            fault.expect_document();
        }
        if let Some(operation) = cx.extensions_mut().get::<Operation>() {
            let _ = operation.0.set(name);
        }
        match cx.s3_path().get_bucket_name() {
            Some(bucket) => Access::check(self, cx.credentials(), bucket, right)?,
            None if cx.credentials().is_some() => {}
            None => return Err(s3_error!(AccessDenied, "Signature is required")),
        }
        beyond::check(cx.s3_op().name(), cx.uri().query(), cx.headers())
    }

    /// Called with each form, when its policy has been verified. s3s takes any key, and does not tell the
    /// file's name, which S3 puts into keys that ask for it.
    async fn post_object(&self, form: &mut S3Request<PostObjectInput>) -> S3Result<()> {
        let key = form.input.key.as_str();
        if key.is_empty() {
            return Err(s3_error!(InvalidArgument, "User key must have a length greater than 0."));
        }
        if !check_key(key) {
            return Err(s3_error!(KeyTooLongError, "Your key is too long"));
        }
        if key.contains("${filename}") {
            return Err(s3_error!(
                InvalidArgument,
                "This server does not put the name of the file into the key; give the whole key"
            ));
        }
        let redirects = form.input.success_action_redirect.is_some();
        form.extensions.insert(Posted { redirects });
        Ok(())
    }
}

/// What an operation needs. Those that are not known to need less need the most.
fn right_for(operation: &str) -> Right {
    match operation {
        "AbortMultipartUpload"
        | "CompleteMultipartUpload"
        | "CopyObject"
        | "CreateMultipartUpload"
        | "DeleteObject"
        | "DeleteObjectTagging"
        | "DeleteObjects"
        | "PostObject"
        | "PutObject"
        | "PutObjectAcl"
        | "PutObjectLegalHold"
        | "PutObjectRetention"
        | "PutObjectTagging"
        | "UploadPart"
        | "UploadPartCopy" => Right::Write,
        "GetBucketAcl"
        | "GetBucketLocation"
        | "GetBucketVersioning"
        | "GetObject"
        | "GetObjectAcl"
        | "GetObjectAttributes"
        | "GetObjectLegalHold"
        | "GetObjectLockConfiguration"
        | "GetObjectRetention"
        | "GetObjectTagging"
        | "HeadBucket"
        | "HeadObject"
        | "ListMultipartUploads"
        | "ListObjectVersions"
        | "ListObjects"
        | "ListObjectsV2"
        | "ListParts" => Right::Read,
        _ => Right::Admin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(bucket: &str, access: Right) -> Rule {
        Rule { bucket: bucket.into(), access }
    }

    fn signed(name: &str) -> Option<Credentials> {
        Some(Credentials { access_key: name.into(), secret_key: SecretKey::from("secret") })
    }

    #[test]
    fn rights_are_those_of_the_rules_and_no_more() {
        let key = |name: &str, rules| AccessKey {
            access_key: name.into(),
            secret_key: "secret".into(),
            rules,
        };
        let reader = vec![rule("camera-*", Right::Read), rule("notes", Right::Write)];
        let access = Access::new(
            vec![key("all", vec![]), key("some", reader)],
            vec![rule("public", Right::Read)],
        );
        let cases = [
            ("all", "anything", Right::Admin, true),
            ("some", "camera-1", Right::Read, true),
            ("some", "camera-1", Right::Write, false),
            ("some", "camera", Right::Read, false),
            ("some", "notes", Right::Write, true),
            ("some", "notes", Right::Admin, false),
            ("some", "notes-2", Right::Read, false),
            ("some", "public", Right::Read, false),
            ("nobody", "public", Right::Read, false),
        ];
        for (name, bucket, right, expected) in cases {
            let credentials = signed(name);
            let found = access.allows(credentials.as_ref(), bucket, right);
            assert_eq!(found, expected, "{name} {bucket} {right:?}");
        }
        assert!(access.allows(None, "public", Right::Read));
        assert!(!access.allows(None, "public", Right::Write));
        assert!(!access.allows(None, "camera-1", Right::Read));
    }
}
