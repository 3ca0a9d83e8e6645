//! Requests that ask for more than there is: nothing is done, and nothing is lost.

use serde_json::json;

use crate::client::Call;
use crate::forms::Form;
use crate::running::{dir, start};

/// Symptom: `DELETE key?annotation` deleted the object, `PUT key?encryption` overwrote it with the
/// request's XML, `DELETE bucket?metadataConfiguration` deleted an empty bucket.
/// Cause: s3s goes by what is left of a request where it does not know a parameter of its query.
/// Rule: what may name something beside an object or a bucket is no operation on that itself.
#[test]
fn what_names_something_else_deletes_and_overwrites_nothing() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    s3.put("/empty", "").expect(200);
    s3.put("/bucket/key", "value").expect(200);
    for (method, target) in [
        ("DELETE", "/bucket/key?annotation"),
        ("DELETE", "/bucket/key?acl"),
        ("DELETE", "/bucket/key?retention="),
        ("DELETE", "/bucket/key?of-next-year"),
        ("PUT", "/bucket/key?encryption"),
        ("PUT", "/bucket/key?annotation=name"),
        ("PUT", "/bucket/key?renameObject"),
        ("PUT", "/bucket/key?torrent"),
        ("PUT", "/bucket/key?of-next-year"),
        ("DELETE", "/empty?metadataConfiguration"),
        ("DELETE", "/empty?acl"),
        ("DELETE", "/empty?versioning"),
        ("DELETE", "/empty?uploads"),
        ("PUT", "/new?abac"),
        ("GET", "/bucket?abac"),
        ("GET", "/bucket/key?annotation"),
    ] {
        let call = Call::new(method, target).body(if method == "PUT" { "<Of/>" } else { "" });
        s3.send(&call).refused(501, "NotImplemented");
    }
    for target in ["/bucket/key?uploadId=1", "/bucket/key?partNumber=1"] {
        s3.put(target, "part").refused(400, "InvalidArgument");
    }
    assert_eq!(s3.get("/bucket/key").expect(200).text(), "value");
    assert_eq!(s3.get("/").expect(200).all_xml("Name"), ["bucket", "empty"]);
    // What says nothing of what it is for.
    s3.put("/bucket/key?x-id=PutObject&who=me", "more").expect(200);
    assert_eq!(s3.get("/bucket/key?1732704000").expect(200).text(), "more");
    s3.call("DELETE", "/bucket/key?x-id=DeleteObject").expect(204);
    running.stop();
}

#[test]
fn headers_that_ask_for_what_is_not_done_are_refused() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    s3.put("/bucket/key", "value").expect(200);
    let key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let encryption = [
        ("x-amz-server-side-encryption-customer-key", key),
        ("x-amz-server-side-encryption-customer-key-md5", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ("x-amz-server-side-encryption-context", "e30="),
        ("x-amz-server-side-encryption-bucket-key-enabled", "true"),
    ];
    for (name, value) in encryption {
        let put = Call::new("PUT", "/bucket/new").header(name, value).body("x");
        s3.send(&put).refused(501, "NotImplemented");
        let begin = Call::new("POST", "/bucket/new?uploads").header(name, value);
        s3.send(&begin).refused(501, "NotImplemented");
        let get = Call::new("GET", "/bucket/key").header(name, value);
        s3.send(&get).refused(400, "InvalidRequest");
    }
    for (owner, status) in [("kogia", 204), ("123456789012", 403)] {
        let name = "x-amz-expected-bucket-owner";
        let delete = Call::new("DELETE", "/bucket/absent").header(name, owner);
        s3.send(&delete).expect(status);
    }
    let of_writers = Call::new("PUT", "/new").header("x-amz-object-ownership", "ObjectWriter");
    s3.send(&of_writers).refused(501, "NotImplemented");
    let without = Call::new("PUT", "/bucket/new").header("content-md5", "").body("x");
    s3.send(&without).refused(400, "InvalidDigest");
    let of_x = "ndTkYSaMgDT1yFZOFVxnpg==";
    let with = Call::new("PUT", "/bucket/new").header("content-md5", of_x).body("x");
    s3.send(&with).expect(200);
    assert_eq!(s3.get("/").expect(200).all_xml("Name"), ["bucket"]);
    running.stop();
}

#[test]
fn lists_of_nobodys_rights_are_not_set() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    s3.put("/bucket?acl", "").refused(400, "MissingSecurityHeader");
    let list = |owner: &str, grants: &str| {
        format!(
            "<AccessControlPolicy><Owner><ID>{owner}</ID></Owner>\
             <AccessControlList>{grants}</AccessControlList></AccessControlPolicy>"
        )
    };
    let ours = "<Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
                xsi:type=\"CanonicalUser\"><ID>kogia</ID></Grantee>\
                <Permission>FULL_CONTROL</Permission></Grant>";
    s3.put("/bucket?acl", list("kogia", "")).refused(501, "NotImplemented");
    s3.put("/bucket?acl", list("somebody", ours)).refused(501, "NotImplemented");
    s3.put("/bucket?acl", list("kogia", ours)).expect(200);
    running.stop();
}

#[test]
fn a_form_is_for_one_bucket_and_asks_for_nothing_that_is_not_done() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    let form = || Form::new("bucket", "key", "value");
    let later = "2100-01-01T00:00:00Z";
    let of_any = form().signed_for(s3, later, vec![json!(["eq", "$key", "key"])]);
    of_any.send(s3).refused(403, "AccessDenied");
    let denied = form().signed(s3, &[json!(["eq", "$x-amz-meta-a", "b"])]).send(s3);
    denied.refused(403, "AccessDenied");
    for (name, value) in [("acl", "public-read"), ("tagging", "<Tagging/>")] {
        form().field(name, value).signed(s3, &[]).send(s3).refused(501, "NotImplemented");
    }
    s3.get("/bucket/key").refused(404, "NoSuchKey");
    form().field("acl", "private").signed(s3, &[]).send(s3).expect(204);
    running.stop();
}

#[test]
fn what_no_bucket_has_can_be_taken_from_any() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    for setting in ["encryption", "policy", "publicAccessBlock", "replication", "website"] {
        s3.call("DELETE", &format!("/bucket?{setting}")).expect(204);
        s3.call("DELETE", &format!("/absent?{setting}")).refused(404, "NoSuchBucket");
    }
    s3.get("/bucket?policyStatus").refused(404, "NoSuchBucketPolicy");
    s3.send_unsigned(&Call::new("OPTIONS", "/bucket/key")).refused(400, "BadRequest");
    s3.put("/bucket/a/b", "").expect(200);
    for listing in
        ["list-type=2&delimiter=", "delimiter=", "versions&delimiter=", "uploads&delimiter="]
    {
        let listed = s3.get(&format!("/bucket?{listing}")).expect(200);
        assert_eq!(listed.xml("Delimiter"), None, "{listing}");
    }
    running.stop();
}
