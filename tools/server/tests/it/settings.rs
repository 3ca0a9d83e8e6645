//! Settings of buckets: lifecycle, pages of other origins, tags, and those that no bucket has.

use crate::client::{Call, Client, Reply};
use crate::running::{dir, start};

fn rule(id: &str, rest: &str) -> String {
    format!("<Rule><ID>{id}</ID><Status>Enabled</Status>{rest}</Rule>")
}

fn lifecycle(rules: &str) -> String {
    format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>")
}

const DAYS: &str = "<Expiration><Days>3</Days></Expiration>";

#[test]
fn a_lifecycle_is_told_as_it_was_given() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    s3.get("/bucket?lifecycle").refused(404, "NoSuchLifecycleConfiguration");
    let rules = [
        rule("clips", &format!("<Filter><Prefix>clips/</Prefix></Filter>{DAYS}")),
        rule("old", &format!("<Prefix>old/</Prefix>{DAYS}")),
        rule(
            "uploads",
            "<Filter/><AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation></AbortIncompleteMultipartUpload>",
        ),
        rule("off", &format!("<Filter/>{DAYS}")).replace("Enabled", "Disabled"),
    ];
    s3.put("/bucket?lifecycle", lifecycle(&rules.concat())).expect(200);
    let told = s3.get("/bucket?lifecycle").expect(200);
    assert_eq!(told.all_xml("ID"), ["clips", "old", "uploads", "off"]);
    assert_eq!(told.all_xml("Days"), ["3", "3", "3"]);
    assert_eq!(told.all_xml("Prefix"), ["clips/", "old/", "", ""]);
    assert_eq!(told.xml("DaysAfterInitiation").as_deref(), Some("2"));
    let put = s3.put("/bucket/clips/a", "x").expect(200);
    assert!(put.header("etag").is_some());
    let head = s3.call("HEAD", "/bucket/clips/a").expect(200);
    for reply in [put, head] {
        let said = reply.header("x-amz-expiration").unwrap();
        assert!(
            said.starts_with("expiry-date=\"") && said.ends_with("GMT\", rule-id=\"clips\""),
            "{said}"
        );
    }
    s3.put("/bucket/other", "x").expect(200);
    assert!(s3.call("HEAD", "/bucket/other").expect(200).header("x-amz-expiration").is_none());
    running.stop();

    let running = start(dir.path());
    let s3 = &running.client;
    assert_eq!(s3.get("/bucket?lifecycle").expect(200).all_xml("ID").len(), 4);
    s3.call("DELETE", "/bucket?lifecycle").expect(204);
    s3.get("/bucket?lifecycle").refused(404, "NoSuchLifecycleConfiguration");
    running.stop();
}

#[test]
fn a_lifecycle_that_asks_for_what_is_not_done_is_refused_whole() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    let good = rule("a", &format!("<Filter/>{DAYS}"));
    for (rest, status, code) in [
        (
            "<Filter/><Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>",
            501,
            "NotImplemented",
        ),
        (
            "<Filter><Tag><Key>k</Key><Value>v</Value></Tag><Prefix>a</Prefix></Filter><Expiration><Days>1</Days></Expiration>",
            400,
            "MalformedXML",
        ),
        (
            "<Filter><And><ObjectSizeGreaterThan>5</ObjectSizeGreaterThan><ObjectSizeLessThan>5</ObjectSizeLessThan></And></Filter><Expiration><Days>1</Days></Expiration>",
            400,
            "InvalidRequest",
        ),
        (
            "<Filter><ObjectSizeLessThan>5</ObjectSizeLessThan></Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation></AbortIncompleteMultipartUpload>",
            400,
            "InvalidRequest",
        ),
        (
            "<Filter><ObjectSizeGreaterThan>-5</ObjectSizeGreaterThan></Filter><Expiration><Days>1</Days></Expiration>",
            400,
            "InvalidArgument",
        ),
        (
            "<Filter/><Expiration><Date>2027-01-02T03:04:05Z</Date></Expiration>",
            400,
            "InvalidArgument",
        ),
        (
            "<Filter/><Expiration><Date>2027-01-02T00:00:00Z</Date><Days>1</Days></Expiration>",
            400,
            "MalformedXML",
        ),
        ("<Filter/><Expiration><Days>0</Days></Expiration>", 400, "InvalidArgument"),
        ("<Filter/><Expiration><Days>-5</Days></Expiration>", 400, "InvalidArgument"),
        ("<Filter/>", 400, "InvalidRequest"),
        ("<Expiration><Days>1</Days></Expiration>", 400, "MalformedXML"),
    ] {
        let body = lifecycle(&[good.clone(), rule("b", rest)].concat());
        s3.put("/bucket?lifecycle", body).refused(status, code);
        s3.get("/bucket?lifecycle").refused(404, "NoSuchLifecycleConfiguration");
    }
    let twice = lifecycle(&[good.clone(), good].concat());
    s3.put("/bucket?lifecycle", twice).refused(400, "InvalidArgument");
    running.stop();
}

#[test]
fn a_lifecycle_by_tags_size_and_date_is_told_as_it_was_given_and_says_when_objects_go() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    let tag = "<Tag><Key>keep</Key><Value>short</Value></Tag>";
    let filters = [
        format!("<Filter>{tag}</Filter>"),
        "<Filter><ObjectSizeGreaterThan>3</ObjectSizeGreaterThan></Filter>".to_owned(),
        format!(
            "<Filter><And><Prefix>clips/</Prefix>{tag}<ObjectSizeLessThan>9</ObjectSizeLessThan></And></Filter>"
        ),
    ];
    let [tagged, large, all] = &filters;
    let rules = [
        rule("tagged", &format!("{tagged}{DAYS}")),
        rule(
            "large",
            &format!("{large}<Expiration><Date>2500-01-01T00:00:00Z</Date></Expiration>"),
        ),
        rule("all", &format!("{all}<Expiration><Days>1</Days></Expiration>")),
    ];
    s3.put("/bucket?lifecycle", lifecycle(&rules.concat())).expect(200);
    let told = s3.get("/bucket?lifecycle").expect(200);
    for filter in ["Tag", "ObjectSizeGreaterThan", "And"] {
        assert!(told.text().contains(&format!("<Filter><{filter}>")), "{filter}: {}", told.text());
    }
    assert_eq!(told.all_xml("ObjectSizeLessThan"), ["9"]);
    assert_eq!(told.xml("Date").as_deref(), Some("2500-01-01T00:00:00.000Z"));
    assert_eq!(told.all_xml("Value"), ["short", "short"]);

    let by = |key: &str, body: &str, tags: &str| {
        let call = Call::new("PUT", key).header("x-amz-tagging", tags).body(body);
        // Of the same moment, which is rounded up to a second.
        let put = s3.send(&call).expect(200).header("x-amz-expiration").map(str::to_owned);
        let head = s3.call("HEAD", key).expect(200).header("x-amz-expiration").map(str::to_owned);
        assert_eq!(put, head, "{key}");
        put.map(|said| said.split('"').nth(3).unwrap().to_owned())
    };
    assert_eq!(by("/bucket/other", "abc", "keep=long"), None);
    assert_eq!(by("/bucket/other", "abcd", "keep=long").as_deref(), Some("large"));
    assert_eq!(by("/bucket/other", "abcd", "keep=short").as_deref(), Some("tagged"));
    assert_eq!(by("/bucket/clips/a", "abcd", "keep=short").as_deref(), Some("all"));
    assert_eq!(by("/bucket/clips/a", "abcdefghi", "keep=short").as_deref(), Some("tagged"));
    running.stop();
}

fn preflight(s3: &Client, origin: &str, method: &str, headers: &str) -> Reply {
    let call = Call::new("OPTIONS", "/bucket/key")
        .header("origin", origin)
        .header("access-control-request-method", method)
        .header("access-control-request-headers", headers);
    s3.send_unsigned(&call)
}

#[test]
fn pages_of_other_origins_may_what_the_rules_say() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    s3.put("/bucket/key", "x").expect(200);
    let page = "https://app.example.org";
    s3.get("/bucket?cors").refused(404, "NoSuchCORSConfiguration");
    preflight(s3, page, "GET", "").refused(403, "AccessForbidden");
    let rules = "<CORSConfiguration>\
        <CORSRule><AllowedOrigin>https://*.example.org</AllowedOrigin><AllowedMethod>PUT</AllowedMethod>\
        <AllowedMethod>GET</AllowedMethod><AllowedHeader>x-amz-*</AllowedHeader>\
        <AllowedHeader>Content-Type</AllowedHeader><ExposeHeader>ETag</ExposeHeader>\
        <MaxAgeSeconds>600</MaxAgeSeconds></CORSRule>\
        <CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>HEAD</AllowedMethod></CORSRule>\
        </CORSConfiguration>";
    s3.put("/bucket?cors", rules).expect(200);
    assert_eq!(s3.get("/bucket?cors").expect(200).all_xml("AllowedMethod"), ["PUT", "GET", "HEAD"]);
    let may = preflight(s3, page, "PUT", "X-Amz-Date, content-type").expect(200);
    assert_eq!(may.header("access-control-allow-origin"), Some(page));
    assert_eq!(may.header("access-control-allow-methods"), Some("PUT, GET"));
    assert_eq!(may.header("access-control-allow-headers"), Some("x-amz-date, content-type"));
    assert_eq!(may.header("access-control-max-age"), Some("600"));
    let any = preflight(s3, "http://elsewhere", "HEAD", "").expect(200);
    assert_eq!(any.header("access-control-allow-origin"), Some("*"));
    assert_eq!(any.header("access-control-allow-credentials"), None);
    for (origin, method, headers) in [
        ("http://elsewhere", "PUT", ""),
        ("https://example.org", "GET", ""),
        (page, "DELETE", ""),
        (page, "PUT", "authorization"),
    ] {
        preflight(s3, origin, method, headers).refused(403, "AccessForbidden");
    }
    // The page may only see what comes back: the right is another matter.
    let got = s3.send(&Call::new("GET", "/bucket/key").header("origin", page)).expect(200);
    assert_eq!(got.header("access-control-allow-origin"), Some(page));
    assert_eq!(got.header("access-control-expose-headers"), Some("ETag"));
    let refused = s3.send_unsigned(&Call::new("GET", "/bucket/key").header("origin", page));
    assert_eq!(refused.header("access-control-allow-origin"), Some(page));
    refused.refused(403, "AccessDenied");
    let other = s3.send(&Call::new("GET", "/bucket/key").header("origin", "http://elsewhere"));
    assert_eq!(other.expect(200).header("access-control-allow-origin"), None);
    for rule in [
        "<AllowedOrigin>a*b*</AllowedOrigin><AllowedMethod>GET</AllowedMethod>",
        "<AllowedOrigin>*</AllowedOrigin><AllowedMethod>PATCH</AllowedMethod>",
    ] {
        let body = format!("<CORSConfiguration><CORSRule>{rule}</CORSRule></CORSConfiguration>");
        s3.put("/bucket?cors", body).refused(400, "InvalidRequest");
    }
    // What would not be read again at the next start is not kept.
    let names = "<ExposeHeader>a</ExposeHeader>".repeat(100_000);
    let long = format!(
        "<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin>\
        <AllowedMethod>GET</AllowedMethod>{names}</CORSRule></CORSConfiguration>"
    );
    s3.put("/bucket?cors", long).refused(400, "InvalidRequest");
    s3.call("DELETE", "/bucket?cors").expect(204);
    preflight(s3, page, "GET", "").refused(403, "AccessForbidden");
    running.stop();
}

#[test]
fn buckets_have_tags_one_owner_and_nothing_else() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    s3.put("/bucket/key", "x").expect(200);
    s3.get("/bucket?tagging").refused(404, "NoSuchTagSet");
    let tags = "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>";
    s3.put("/bucket?tagging", tags).expect(200);
    assert_eq!(s3.get("/bucket?tagging").expect(200).xml("Value").as_deref(), Some("v"));
    for target in ["/bucket?acl", "/bucket/key?acl"] {
        let acl = s3.get(target).expect(200);
        assert_eq!(acl.all_xml("Permission"), ["FULL_CONTROL"]);
        let private = Call::new("PUT", target).header("x-amz-acl", "private");
        s3.send(&private).expect(200);
        let public = Call::new("PUT", target).header("x-amz-acl", "public-read");
        s3.send(&public).refused(501, "NotImplemented");
    }
    s3.get("/bucket/absent?acl").refused(404, "NoSuchKey");
    for (setting, code) in [
        ("encryption", "ServerSideEncryptionConfigurationNotFoundError"),
        ("object-lock", "ObjectLockConfigurationNotFoundError"),
        ("policy", "NoSuchBucketPolicy"),
        ("publicAccessBlock", "NoSuchPublicAccessBlockConfiguration"),
        ("replication", "ReplicationConfigurationNotFoundError"),
        ("website", "NoSuchWebsiteConfiguration"),
    ] {
        s3.get(&format!("/bucket?{setting}")).refused(404, code);
        s3.get(&format!("/nowhere?{setting}")).refused(404, "NoSuchBucket");
    }
    for setting in ["accelerate", "logging", "notification", "ownershipControls", "requestPayment"]
    {
        s3.get(&format!("/bucket?{setting}")).expect(200);
    }
    s3.call("DELETE", "/bucket?tagging").expect(204);
    s3.get("/bucket?tagging").refused(404, "NoSuchTagSet");
    // They are the bucket's, and not those of one that is called so later.
    s3.put("/bucket?tagging", tags).expect(200);
    s3.call("DELETE", "/bucket/key").expect(204);
    s3.call("DELETE", "/bucket").expect(204);
    s3.put("/bucket", "").expect(200);
    s3.get("/bucket?tagging").refused(404, "NoSuchTagSet");
    running.stop();
}
