//! Uploads of forms, as browsers send them.

use serde_json::{Value, json};

use crate::client::{Call, Client, REGION, Reply, amz_date, hex, hmac};
use crate::objects::bytes;
use crate::running::{dir, start, start_with};

const BOUNDARY: &str = "----a-boundary";

/// A form on its way.
#[derive(Clone)]
pub struct Form {
    pub bucket: String,
    pub fields: Vec<(String, String)>,
    pub file: Vec<u8>,
}

impl Form {
    /// A form without a policy.
    pub fn new(bucket: &str, key: &str, file: impl Into<Vec<u8>>) -> Self {
        Form { bucket: bucket.into(), fields: Vec::new(), file: file.into() }.field("key", key)
    }

    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// The same, signed, with a policy that allows this bucket, the fields that are there, and what
    /// `more` allows.
    pub fn signed(self, s3: &Client, more: &[Value]) -> Self {
        let mut conditions = vec![json!({ "bucket": self.bucket })];
        conditions.extend(self.fields.iter().map(|(name, value)| json!({ name: value })));
        conditions.extend_from_slice(more);
        self.signed_for(s3, "2100-01-01T00:00:00Z", conditions)
    }

    /// The same with these conditions, and those of the signature.
    pub fn signed_for(self, s3: &Client, expires: &str, mut conditions: Vec<Value>) -> Self {
        let date = amz_date(0);
        let credential = format!("{}/{}/{REGION}/s3/aws4_request", s3.access_key, &date[..8]);
        let form = self
            .field("x-amz-algorithm", "AWS4-HMAC-SHA256")
            .field("x-amz-credential", &credential)
            .field("x-amz-date", &date);
        conditions
            .extend(form.fields.iter().rev().take(3).map(|(name, value)| json!({ name: value })));
        let policy = json!({ "expiration": expires, "conditions": conditions }).to_string();
        let policy = base64_simd::STANDARD.encode_to_string(policy);
        let signature = hex(&hmac(&s3.signing_key(&date), policy.as_bytes()));
        form.field("policy", &policy).field("x-amz-signature", &signature)
    }

    /// As it stands in the body.
    pub fn body(&self) -> Vec<u8> {
        let mut body = String::new();
        for (name, value) in &self.fields {
            body += &format!(
                "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            );
        }
        body += &format!(
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\ncontent-type: application/octet-stream\r\n\r\n"
        );
        [body.as_bytes(), &self.file, format!("\r\n--{BOUNDARY}--\r\n").as_bytes()].concat()
    }

    pub fn call(&self) -> Call<'static> {
        Call::new("POST", &format!("/{}", self.bucket))
            .header("content-type", &format!("multipart/form-data; boundary={BOUNDARY}"))
            .body(self.body())
    }

    pub fn send(&self, s3: &Client) -> Reply {
        s3.send_unsigned(&self.call())
    }
}

#[test]
fn a_form_with_a_policy_puts_its_file() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    for (key, len) in [("small", 5), ("empty", 0), ("a/larger one", 3 << 20)] {
        let form = Form::new("bucket", key, bytes(len))
            .field("Content-Type", "video/mp2t")
            .field("x-amz-meta-camera", "door")
            .signed(s3, &[json!(["content-length-range", 0, 4 << 20])]);
        let posted = form.send(s3).expect(204);
        let place = posted.header("location").unwrap();
        let found = s3.get(place).expect(200);
        assert_eq!(place, format!("/bucket/{}", crate::client::path(key)));
        assert_eq!(posted.header("etag"), found.header("etag"), "{key}");
        assert_eq!(found.body, bytes(len), "{key}");
        assert_eq!(found.header("content-type"), Some("video/mp2t"));
        assert_eq!(found.header("x-amz-meta-camera"), Some("door"));
    }
    // What a client is told is up to the form.
    let told = |name: &str, value: &str| {
        Form::new("bucket", "told", "x").field(name, value).signed(s3, &[]).send(s3)
    };
    told("success_action_status", "200").expect(200);
    let created = told("success_action_status", "201").expect(201);
    assert_eq!(
        (created.xml("Bucket").unwrap(), created.xml("Key").unwrap()),
        ("bucket".into(), "told".into())
    );
    let redirected = told("success_action_redirect", "http://example.org/done").expect(303);
    let place = redirected.header("location").unwrap();
    assert!(place.starts_with("http://example.org/done?bucket=bucket&key=told&etag="), "{place}");
    assert!(redirected.header("etag").is_some());
    running.stop();
}

#[test]
fn a_form_without_a_policy_needs_the_right_of_anybody() {
    let dir = dir();
    let running = start_with(
        dir.path(),
        "anonymous = [{ bucket = \"hls\", access = \"write\" }, { bucket = \"public\", access = \"read\" }]",
    );
    let s3 = &running.client;
    for bucket in ["hls", "public", "bucket"] {
        s3.put(&format!("/{bucket}"), "").expect(200);
    }
    Form::new("hls", "0001.ts", "media").send(s3).expect(204);
    assert_eq!(s3.get("/hls/0001.ts").expect(200).text(), "media");
    Form::new("public", "key", "x").send(s3).refused(403, "AccessDenied");
    Form::new("bucket", "key", "x").send(s3).refused(403, "AccessDenied");
    running.stop();
}
