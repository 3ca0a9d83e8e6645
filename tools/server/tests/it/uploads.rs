//! Uploads in parts.

use crate::client::{Call, Client, Reply};
use crate::objects::bytes;
use crate::running::{dir, start, start_with};

/// Parts may be small, so that tests are quick.
pub const SMALL_PARTS: &str = "[limits]\npart_bytes = \"1KiB\"";

pub fn begin(s3: &Client, target: &str) -> String {
    let reply = s3.call("POST", &format!("{target}?uploads")).expect(200);
    reply.xml("UploadId").unwrap()
}

/// Gives the part's entity tag.
pub fn part(s3: &Client, target: &str, upload: &str, number: usize, body: Vec<u8>) -> String {
    let reply = s3.put(&format!("{target}?partNumber={number}&uploadId={upload}"), body);
    reply.expect(200).header("etag").unwrap().to_owned()
}

pub fn complete(s3: &Client, target: &str, upload: &str, parts: &[(usize, String)]) -> Reply {
    let parts: String = parts
        .iter()
        .map(|(number, etag)| {
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
        })
        .collect();
    let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    s3.send(&Call::new("POST", &format!("{target}?uploadId={upload}")).body(body))
}

#[test]
fn parts_become_an_object_in_their_order() {
    let dir = dir();
    let running = start_with(dir.path(), SMALL_PARTS);
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    let target = "/bucket/some/key";
    let begun = Call::new("POST", "/bucket/some/key?uploads").header("x-amz-meta-camera", "1");
    let upload = s3.send(&begun).expect(200).xml("UploadId").unwrap();
    let bodies = [bytes(300_000), bytes(1024), bytes(5000), bytes(7)];
    // Not in their order, and one twice.
    let mut parts: Vec<_> = [2, 4, 1, 3, 2]
        .into_iter()
        .map(|number| (number, part(s3, target, &upload, number, bodies[number - 1].clone())))
        .collect();
    s3.get(target).refused(404, "NoSuchKey");
    let listed = s3.get(&format!("{target}?uploadId={upload}&max-parts=3")).expect(200);
    assert_eq!(listed.all_xml("PartNumber"), ["1", "2", "3"]);
    assert_eq!(listed.xml("NextPartNumberMarker").as_deref(), Some("3"));
    let listed = s3.get(&format!("{target}?uploadId={upload}&part-number-marker=3")).expect(200);
    assert_eq!(listed.all_xml("PartNumber"), ["4"]);
    let uploads = s3.get("/bucket?uploads").expect(200);
    assert_eq!(uploads.all_xml("UploadId"), std::slice::from_ref(&upload));

    parts.sort();
    parts.dedup();
    let completed = complete(s3, target, &upload, &parts).expect(200);
    assert!(completed.xml("ETag").unwrap().contains("-4"), "{}", completed.text());
    let whole = bodies.concat();
    let got = s3.get(target).expect(200);
    assert!(got.body == whole);
    assert_eq!(got.header("x-amz-meta-camera"), Some("1"));
    let second = s3.get(&format!("{target}?partNumber=2")).expect(206);
    assert!(second.body == bodies[1]);
    assert_eq!(second.header("x-amz-mp-parts-count"), Some("4"));
    s3.get(&format!("{target}?partNumber=5")).refused(416, "InvalidPartNumber");
    for number in ["0", "10001"] {
        s3.get(&format!("{target}?partNumber={number}")).refused(400, "InvalidArgument");
    }
    let ranged = s3.send(&Call::new("GET", target).header("range", "bytes=299990-301030"));
    assert!(ranged.expect(206).body == whole[299_990..=301_030]);
    // Whoever did not hear of it asks again.
    complete(s3, target, &upload, &parts).expect(200);
    assert!(s3.get("/bucket?uploads").expect(200).all_xml("UploadId").is_empty());
    s3.get(&format!("{target}?uploadId={upload}")).refused(404, "NoSuchUpload");
    let late = format!("{target}?partNumber=1&uploadId={upload}");
    s3.put(&late, "late").refused(404, "NoSuchUpload");
    running.stop();

    let running = start(dir.path());
    assert!(running.client.get(target).expect(200).body == whole);
    running.stop();
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    let target = "/bucket/key";
    let upload = begin(s3, target);
    let one = part(s3, target, &upload, 1, bytes(5 << 20));
    let two = part(s3, target, &upload, 2, bytes(100));
    let three = part(s3, target, &upload, 3, bytes(100));
    let given = |parts: &[(usize, &String)]| {
        let parts: Vec<_> = parts.iter().map(|(n, etag)| (*n, (*etag).clone())).collect();
        complete(s3, target, &upload, &parts)
    };
    given(&[]).refused(400, "MalformedXML");
    given(&[(2, &two), (1, &one)]).refused(400, "InvalidPartOrder");
    given(&[(1, &one), (1, &one)]).refused(400, "InvalidPartOrder");
    given(&[(1, &two)]).refused(400, "InvalidPart");
    given(&[(1, &one), (4, &one)]).refused(400, "InvalidPart");
    given(&[(1, &one), (2, &two), (3, &three)]).refused(400, "EntityTooSmall");
    for number in ["0", "10001", "-1"] {
        let target = format!("{target}?partNumber={number}&uploadId={upload}");
        s3.put(&target, "x").refused(400, "InvalidArgument");
    }
    let other = format!("/bucket/other?partNumber=1&uploadId={upload}");
    s3.put(&other, "x").refused(404, "NoSuchUpload");
    for upload in ["", "x", "0123456789abcdef0123456789abcdef"] {
        let target = format!("{target}?partNumber=1&uploadId={upload}");
        let status = s3.put(&target, "x").status;
        assert!(matches!(status, 400 | 404), "{upload}: {status}");
    }
    // Nothing of all that has harmed it; the part that is not named goes.
    given(&[(1, &one), (2, &two)]).expect(200);
    assert_eq!(s3.get(target).expect(200).body.len(), (5 << 20) + 100);
    assert_eq!(parts_left(&running.admin), 0);

    let upload = begin(s3, target);
    part(s3, target, &upload, 1, bytes(100));
    let gone = format!("{target}?uploadId={upload}");
    s3.call("DELETE", &gone).expect(204);
    s3.call("DELETE", &gone).refused(404, "NoSuchUpload");
    assert_eq!(parts_left(&running.admin), 0);
    running.stop();
}

/// Parts in all partitions, by the metrics.
pub fn parts_left(admin: &Client) -> u64 {
    let metrics = admin.exchange(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").expect(200).text();
    let lines = metrics.lines().filter(|line| line.starts_with("kogia_server_parts{"));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

#[test]
fn parts_are_copied_from_objects() {
    let dir = dir();
    let running = start_with(dir.path(), SMALL_PARTS);
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    let source = bytes(700_000);
    s3.put("/bucket/source", source.clone()).expect(200);
    let target = "/bucket/key";
    let upload = begin(s3, target);
    let copy = |number: usize, range: Option<&str>| {
        let target = format!("{target}?partNumber={number}&uploadId={upload}");
        let call = Call::new("PUT", &target).header("x-amz-copy-source", "/bucket/source");
        match range {
            Some(range) => s3.send(&call.header("x-amz-copy-source-range", range)),
            None => s3.send(&call),
        }
    };
    copy(1, Some("bytes=0-700000")).refused(416, "InvalidRange");
    copy(1, Some("bytes=5-")).refused(416, "InvalidRange");
    copy(1, Some("rubbish")).refused(400, "InvalidArgument");
    let etag = |reply: Reply| reply.expect(200).xml("ETag").unwrap().replace("&quot;", "\"");
    let parts = [(1, etag(copy(1, Some("bytes=100-600099")))), (2, etag(copy(2, None)))];
    complete(s3, target, &upload, &parts).expect(200);
    assert!(s3.get(target).expect(200).body == [&source[100..600_100], &source[..]].concat());
    running.stop();
}

#[test]
fn checksums_of_parts_make_those_of_objects() {
    let dir = dir();
    let running = start_with(dir.path(), SMALL_PARTS);
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    // The whole is 2048 digits: checked against a put of the same.
    let whole = "1234567890123456".repeat(128).into_bytes();
    for (algorithm, kind, header) in [
        ("CRC32", "FULL_OBJECT", "x-amz-checksum-crc32"),
        ("CRC32C", "FULL_OBJECT", "x-amz-checksum-crc32c"),
        ("CRC64NVME", "FULL_OBJECT", "x-amz-checksum-crc64nvme"),
        ("CRC32", "COMPOSITE", "x-amz-checksum-crc32"),
        ("SHA256", "COMPOSITE", "x-amz-checksum-sha256"),
    ] {
        let put =
            Call::new("PUT", "/bucket/whole").header("x-amz-sdk-checksum-algorithm", algorithm);
        let put = s3.send(&put.body(whole.clone())).expect(200);
        let begun = Call::new("POST", "/bucket/key?uploads")
            .header("x-amz-checksum-algorithm", algorithm)
            .header("x-amz-checksum-type", kind);
        let upload = s3.send(&begun).expect(200).xml("UploadId").unwrap();
        let parts = [1, 2].map(|n| {
            let body = whole[(n - 1) * 1024..n * 1024].to_vec();
            (n, part(s3, "/bucket/key", &upload, n, body))
        });
        complete(s3, "/bucket/key", &upload, &parts).expect(200);
        let head = Call::new("HEAD", "/bucket/key").header("x-amz-checksum-mode", "ENABLED");
        let head = s3.send(&head).expect(200);
        assert_eq!(head.header("x-amz-checksum-type"), Some(kind));
        match kind {
            "FULL_OBJECT" => assert_eq!(head.header(header), put.header(header), "{algorithm}"),
            _ => assert!(head.header(header).unwrap().ends_with("-2"), "{algorithm}"),
        }
    }
    for (algorithm, kind) in
        [("SHA1", "FULL_OBJECT"), ("CRC64NVME", "COMPOSITE"), ("MD5", "COMPOSITE")]
    {
        let begun = Call::new("POST", "/bucket/key?uploads")
            .header("x-amz-checksum-algorithm", algorithm)
            .header("x-amz-checksum-type", kind);
        s3.send(&begun).refused(400, "InvalidRequest");
    }
    running.stop();
}

#[test]
fn uploads_are_listed_by_key_and_below_prefixes() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    let mut begun = Vec::new();
    for key in ["a/1", "a/2", "a/2", "b", "c/1"] {
        begun.push((key, begin(s3, &format!("/bucket/{key}"))));
    }
    begun.sort();
    let mut found = Vec::new();
    let mut marker = String::new();
    loop {
        let page = s3.get(&format!("/bucket?uploads&max-uploads=2{marker}")).expect(200);
        found.extend(page.all_xml("Key").into_iter().zip(page.all_xml("UploadId")));
        if page.xml("IsTruncated").as_deref() != Some("true") {
            break;
        }
        let key = page.xml("NextKeyMarker").unwrap().replace('/', "%2F");
        let upload = page.xml("NextUploadIdMarker").unwrap();
        marker = format!("&key-marker={key}&upload-id-marker={upload}");
    }
    let begun: Vec<_> = begun.into_iter().map(|(key, id)| (key.to_owned(), id)).collect();
    assert_eq!(found, begun);
    let folded = s3.get("/bucket?uploads&delimiter=%2F").expect(200);
    assert_eq!(folded.all_xml("Key"), ["b"]);
    assert_eq!(folded.all_xml("CommonPrefixes").len(), 2);
    let below = s3.get("/bucket?uploads&prefix=a%2F&delimiter=%2F").expect(200);
    assert_eq!(below.all_xml("Key"), ["a/1", "a/2", "a/2"]);
    // They go with their bucket.
    s3.call("DELETE", "/bucket").expect(204);
    running.stop();
}

#[test]
fn uploads_age_out() {
    let dir = dir();
    let running = start_with(dir.path(), "[limits]\nupload_age = \"5s\"");
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    let upload = begin(s3, "/bucket/key");
    part(s3, "/bucket/key", &upload, 1, bytes(100));
    let ends = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while parts_left(&running.admin) > 0 {
        assert!(std::time::Instant::now() < ends, "it stays");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    s3.get(&format!("/bucket/key?uploadId={upload}")).refused(404, "NoSuchUpload");
    running.stop();
}
