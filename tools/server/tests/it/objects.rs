//! Objects: put, get, head, copy, delete, tags, conditions.

use crate::client::{Call, Reply};
use crate::running::{dir, start};

/// Bytes that differ from place to place.
pub fn bytes(len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

#[test]
fn objects_of_all_sizes_come_back_as_they_were_put() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    let piece = 256 << 10;
    let sizes = [0, 1, 4096, piece - 1, piece, piece + 1, 2 * piece, 2 * piece + 1, 5 << 20];
    for size in sizes {
        let body = bytes(size);
        let put = s3.put(&format!("/bucket/of-{size}"), body.clone()).expect(200);
        let got = s3.get(&format!("/bucket/of-{size}")).expect(200);
        assert_eq!(got.header("content-length"), Some(&*size.to_string()));
        assert_eq!(got.header("etag"), put.header("etag"));
        assert!(got.body == body, "{size}");
        let head = s3.call("HEAD", &format!("/bucket/of-{size}")).expect(200);
        assert_eq!(head.header("content-length"), Some(&*size.to_string()));
    }
    // MD5 of nothing.
    let empty = s3.get("/bucket/of-0").expect(200);
    assert_eq!(empty.header("etag"), Some("\"d41d8cd98f00b204e9800998ecf8427e\""));
    running.stop();

    let running = start(dir.path());
    for size in sizes {
        assert!(running.client.get(&format!("/bucket/of-{size}")).expect(200).body == bytes(size));
    }
    running.stop();
}

#[test]
fn headers_come_back_as_they_were_given() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    let given = [
        ("content-type", "video/mp2t"),
        ("content-encoding", "gzip"),
        ("content-language", "de"),
        ("content-disposition", "attachment; filename=\"a.ts\""),
        ("cache-control", "no-store"),
        ("expires", "Wed, 21 Oct 2026 07:28:00 GMT"),
        ("x-amz-meta-camera", "1"),
        ("x-amz-meta-place", "the door"),
        ("x-amz-website-redirect-location", "/elsewhere"),
    ];
    let mut call = Call::new("PUT", "/bucket/key").body("media");
    for (name, value) in given {
        call = call.header(name, value);
    }
    s3.send(&call).expect(200);
    for reply in [s3.get("/bucket/key").expect(200), s3.call("HEAD", "/bucket/key").expect(200)] {
        for (name, value) in given {
            assert_eq!(reply.header(name), Some(value), "{name}");
        }
        assert_eq!(reply.header("accept-ranges"), Some("bytes"));
        assert!(reply.header("last-modified").unwrap().ends_with("GMT"));
        assert!(reply.header("x-amz-request-id").is_some());
    }
    let asked = "/bucket/key?response-cache-control=public&response-content-type=text%2Fplain";
    let overridden = s3.get(asked).expect(200);
    assert_eq!(overridden.header("content-type"), Some("text/plain"));
    assert_eq!(overridden.header("cache-control"), Some("public"));
    // How it was sent is not what it is.
    let chunked = Call::new("PUT", "/bucket/plain").header("content-encoding", "aws-chunked");
    s3.send(&chunked.body("x")).expect(200);
    let plain = s3.get("/bucket/plain").expect(200);
    assert_eq!(plain.header("content-encoding"), None);
    assert_eq!(plain.header("content-type"), Some("binary/octet-stream"));
    running.stop();
}

#[test]
fn ranges_are_exactly_what_was_asked_for() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    let body = bytes(1 << 20);
    s3.put("/bucket/key", body.clone()).expect(200);
    let range = |range: &str| s3.send(&Call::new("GET", "/bucket/key").header("range", range));
    for (asked, expected) in [
        ("bytes=0-0", 0..1),
        ("bytes=1-4096", 1..4097),
        ("bytes=262143-262144", 262_143..262_145),
        ("bytes=100-", 100..1 << 20),
        ("bytes=-5", (1 << 20) - 5..1 << 20),
        ("bytes=-2000000", 0..1 << 20),
        ("bytes=1000000-9999999999", 1_000_000..1 << 20),
    ] {
        let got = range(asked).expect(206);
        let told = format!("bytes {}-{}/1048576", expected.start, expected.end - 1);
        assert_eq!(got.header("content-range"), Some(&*told), "{asked}");
        assert!(got.body == body[expected], "{asked}");
    }
    for asked in ["bytes=1048576-", "bytes=-0", "bytes=9999999-99999999"] {
        let refused = range(asked).refused(416, "InvalidRange");
        assert_eq!(refused.header("content-range"), Some("bytes */1048576"), "{asked}");
    }
    running.stop();
}

#[test]
fn reads_keep_their_conditions() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    let put = s3.put("/bucket/key", "value").expect(200);
    let etag = put.header("etag").unwrap();
    let modified = s3.get("/bucket/key").header("last-modified").unwrap().to_owned();
    let old = "Wed, 21 Oct 2015 07:28:00 GMT";
    for (name, value, status) in [
        ("if-match", etag, 200),
        ("if-match", "\"00000000000000000000000000000000\"", 412),
        ("if-none-match", etag, 304),
        ("if-none-match", "\"00000000000000000000000000000000\"", 200),
        ("if-modified-since", old, 200),
        ("if-modified-since", &modified, 304),
        ("if-unmodified-since", old, 412),
        ("if-unmodified-since", &modified, 200),
    ] {
        for method in ["GET", "HEAD"] {
            let reply = s3.send(&Call::new(method, "/bucket/key").header(name, value));
            assert_eq!(reply.status, status, "{method} {name}: {value}");
            if status == 304 {
                assert_eq!(reply.header("etag"), Some(etag));
            }
        }
    }
    running.stop();
}

#[test]
fn of_many_who_create_a_key_one_does() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    // Whole, and streamed.
    for (key, len) in [("small", 100), ("large", 300 << 10)] {
        let target = format!("/bucket/{key}");
        let put = |i: usize| {
            let call = Call::new("PUT", &target).header("if-none-match", "*");
            s3.send(&call.body(vec![i as u8; len]))
        };
        let replies: Vec<Reply> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|i| scope.spawn(move || put(i))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let won: Vec<_> = (0..8).filter(|&i| replies[i].status == 200).collect();
        let lost = replies.iter().filter(|reply| reply.status == 412).count();
        assert_eq!((won.len(), lost), (1, 7), "{key}");
        assert!(s3.get(&target).body == vec![won[0] as u8; len]);
    }
    running.stop();
}

#[test]
fn an_update_that_was_overtaken_is_refused() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    let first = s3.put("/bucket/key", "first").expect(200);
    let first = first.header("etag").unwrap();
    let update = |etag: &str, body: &str| {
        s3.send(&Call::new("PUT", "/bucket/key").header("if-match", etag).body(body))
    };
    update(first, "second").expect(200);
    update(first, "third").refused(412, "PreconditionFailed");
    assert_eq!(s3.get("/bucket/key").text(), "second");
    let absent = Call::new("PUT", "/bucket/absent").header("if-match", first).body("x");
    s3.send(&absent).refused(404, "NoSuchKey");
    let delete = |etag: &str| s3.send(&Call::new("DELETE", "/bucket/key").header("if-match", etag));
    delete(first).refused(412, "PreconditionFailed");
    let second = s3.get("/bucket/key").expect(200);
    delete(second.header("etag").unwrap()).expect(204);
    s3.get("/bucket/key").refused(404, "NoSuchKey");
    // Once more is no error.
    s3.call("DELETE", "/bucket/key").expect(204);
    running.stop();
}

#[test]
fn copies_have_the_bytes_and_what_the_request_says() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/one", "").expect(200);
    s3.put("/two", "").expect(200);
    let body = bytes(700_000);
    let put = Call::new("PUT", "/one/a%20b%2Bc").header("x-amz-meta-camera", "1");
    s3.send(&put.header("x-amz-tagging", "kind=media").body(body.clone())).expect(200);
    let copy = |to: &str| Call::new("PUT", to).header("x-amz-copy-source", "/one/a%20b%2Bc");
    let copied = s3.send(&copy("/two/copy")).expect(200);
    assert!(copied.xml("ETag").is_some());
    let got = s3.get("/two/copy").expect(200);
    assert!(got.body == body);
    assert_eq!(got.header("x-amz-meta-camera"), Some("1"));
    assert_eq!(got.header("x-amz-tagging-count"), Some("1"));
    let head = s3.call("HEAD", "/two/copy").expect(200);
    assert_eq!(head.header("x-amz-tagging-count"), Some("1"));

    let replaced = copy("/two/other")
        .header("x-amz-metadata-directive", "REPLACE")
        .header("x-amz-meta-place", "door")
        .header("x-amz-tagging-directive", "REPLACE");
    s3.send(&replaced).expect(200);
    let got = s3.get("/two/other").expect(200);
    assert_eq!(
        (got.header("x-amz-meta-camera"), got.header("x-amz-meta-place")),
        (None, Some("door"))
    );
    assert_eq!(got.header("x-amz-tagging-count"), None);

    s3.send(&copy("/one/a%20b%2Bc")).refused(400, "InvalidRequest");
    let itself = copy("/one/a%20b%2Bc").header("x-amz-metadata-directive", "REPLACE");
    s3.send(&itself).expect(200);
    assert!(s3.get("/one/a%20b%2Bc").expect(200).body == body);
    let none =
        copy("/two/none").header("x-amz-copy-source-if-none-match", got.header("etag").unwrap());
    s3.send(&none).refused(412, "PreconditionFailed");
    let gone = Call::new("PUT", "/two/none").header("x-amz-copy-source", "one/absent");
    s3.send(&gone).refused(404, "NoSuchKey");
    s3.get("/two/none").refused(404, "NoSuchKey");
    running.stop();
}

#[test]
fn tags_are_those_of_the_object_that_they_were_set_for() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    let put = Call::new("PUT", "/bucket/key").header("x-amz-tagging", "a=1&b=x%20y");
    s3.send(&put.body("one")).expect(200);
    let tags = || s3.get("/bucket/key?tagging").expect(200).all_xml("Value");
    assert_eq!(tags(), ["1", "x y"]);
    let set = |tags: &[(&str, &str)]| {
        let tags: String = tags
            .iter()
            .map(|(key, value)| format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>"))
            .collect();
        s3.put("/bucket/key?tagging", format!("<Tagging><TagSet>{tags}</TagSet></Tagging>"))
    };
    set(&[("c", "3")]).expect(200);
    assert_eq!(tags(), ["3"]);
    set(&[("c", "3"), ("c", "4")]).refused(400, "InvalidTag");
    set(&[("k", "v"); 11]).refused(400, "InvalidTag");
    set(&[("", "v")]).refused(400, "InvalidTag");
    assert_eq!(tags(), ["3"]);
    s3.call("DELETE", "/bucket/key?tagging").expect(204);
    assert!(tags().is_empty());
    set(&[("c", "5")]).expect(200);
    // An overwrite has no tags of the object before.
    s3.put("/bucket/key", "two").expect(200);
    assert!(tags().is_empty());
    set(&[("c", "6")]).expect(200);
    s3.call("DELETE", "/bucket/key").expect(204);
    s3.get("/bucket/key?tagging").refused(404, "NoSuchKey");
    s3.call("DELETE", "/bucket").expect(204);
    running.stop();
}

#[test]
fn many_are_deleted_at_once() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    for i in 0..20 {
        s3.put(&format!("/bucket/{i}"), "x").expect(200);
    }
    let delete = |objects: &str, quiet: bool| {
        let body = format!("<Delete><Quiet>{quiet}</Quiet>{objects}</Delete>");
        s3.send(&Call::new("POST", "/bucket?delete").body(body))
    };
    let object = |key: &str| format!("<Object><Key>{key}</Key></Object>");
    let all: String = (0..10).map(|i| object(&i.to_string())).collect();
    let deleted = delete(&(all + &object("absent")), false).expect(200);
    assert_eq!(deleted.all_xml("Deleted").len(), 11);
    let quiet = delete(&(10..15).map(|i| object(&i.to_string())).collect::<String>(), true);
    assert!(quiet.expect(200).all_xml("Deleted").is_empty());
    let wrong = "<Object><Key>15</Key><ETag>00000000000000000000000000000000</ETag></Object>";
    let mixed = delete(&(object("16") + wrong), false).expect(200);
    assert_eq!(mixed.all_xml("Code"), ["PreconditionFailed"]);
    let left = s3.get("/bucket?list-type=2").expect(200).all_xml("Key");
    assert_eq!(left, ["15", "17", "18", "19"]);
    delete("", false).refused(400, "MalformedXML");
    delete(&object("x").repeat(1001), false).refused(400, "MalformedXML");
    running.stop();
}

#[test]
fn checksums_are_verified_kept_and_told() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    let put = |name: &str, value: &str| {
        s3.send(&Call::new("PUT", "/bucket/key").header(name, value).body("123456789"))
    };
    for (name, value) in [
        ("x-amz-checksum-crc32", "y/Q5Jg=="),
        ("x-amz-checksum-crc32c", "4waSgw=="),
        ("x-amz-checksum-crc64nvme", "rosUhgp5mIg="),
        ("x-amz-checksum-sha1", "98O8HYCOBHMq32eZZczDTKeuNEE="),
        ("x-amz-checksum-sha256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="),
    ] {
        assert_eq!(put(name, value).expect(200).header(name), Some(value));
        let told =
            s3.send(&Call::new("HEAD", "/bucket/key").header("x-amz-checksum-mode", "ENABLED"));
        assert_eq!(told.header(name), Some(value));
        assert_eq!(s3.call("HEAD", "/bucket/key").header(name), None);
        let zero =
            "A".repeat(value.trim_end_matches('=').len()) + value.trim_start_matches(|c| c != '=');
        put(name, &zero).refused(400, "BadDigest");
        put(name, "AAAA").refused(400, "InvalidRequest");
    }
    put("content-md5", "JfnnlDI7RTiF9RgfG2JNCw==").expect(200);
    put("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==").refused(400, "BadDigest");
    put("content-md5", "rubbish").refused(400, "InvalidDigest");
    let two = Call::new("PUT", "/bucket/key")
        .header("x-amz-checksum-crc32", "y/Q5Jg==")
        .header("x-amz-checksum-crc32c", "4waSgw==");
    s3.send(&two.body("123456789")).refused(400, "InvalidRequest");
    let asked = Call::new("PUT", "/bucket/key").header("x-amz-sdk-checksum-algorithm", "CRC32");
    let kept = s3.send(&asked.body("123456789")).expect(200);
    assert_eq!(kept.header("x-amz-checksum-crc32"), Some("y/Q5Jg=="));
    let facts = Call::new("GET", "/bucket/key?attributes")
        .header("x-amz-object-attributes", "ETag,Checksum,ObjectSize,StorageClass");
    let facts = s3.send(&facts).expect(200);
    assert_eq!(facts.xml("ChecksumCRC32").as_deref(), Some("y/Q5Jg=="));
    assert_eq!(facts.xml("ObjectSize").as_deref(), Some("9"));
    // Without quotes, here alone.
    assert_eq!(facts.xml("ETag").as_deref(), Some("25f9e794323b453885f5181f1b624d0b"));
    running.stop();
}

#[test]
fn buckets_come_and_go() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    for name in ["b-three", "a-one", "a-two"] {
        s3.put(&format!("/{name}"), "").expect(200);
    }
    s3.put("/a-one", "").refused(409, "BucketAlreadyOwnedByYou");
    s3.put("/A_bad_name", "").refused(400, "InvalidBucketName");
    assert_eq!(s3.get("/").expect(200).all_xml("Name"), ["a-one", "a-two", "b-three"]);
    assert_eq!(s3.get("/?prefix=a-&max-buckets=1").expect(200).all_xml("Name"), ["a-one"]);
    s3.call("HEAD", "/a-one").expect(200);
    s3.call("HEAD", "/absent").expect(404);
    s3.get("/a-one?location").expect(200);
    s3.get("/a-one?versioning").expect(200);
    s3.put("/a-one/key", "x").expect(200);
    s3.call("DELETE", "/a-one").refused(409, "BucketNotEmpty");
    s3.call("DELETE", "/a-one/key").expect(204);
    s3.call("DELETE", "/a-one").expect(204);
    s3.call("DELETE", "/a-one").refused(404, "NoSuchBucket");
    s3.put("/a-one/key", "x").refused(404, "NoSuchBucket");
    // The same name is another bucket, with nothing in it.
    s3.put("/a-one", "").expect(200);
    assert!(s3.get("/a-one?list-type=2").expect(200).all_xml("Key").is_empty());
    running.stop();
    let running = start(dir.path());
    assert_eq!(running.client.get("/").all_xml("Name"), ["a-one", "a-two", "b-three"]);
    running.stop();
}

#[test]
fn what_is_not_there_is_said_not_to_be() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    for (name, value) in [
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-acl", "public-read"),
        ("x-amz-grant-read", "id=x"),
    ] {
        let put = Call::new("PUT", "/bucket/key").header(name, value).body("x");
        s3.send(&put).refused(501, "NotImplemented");
    }
    let class = Call::new("PUT", "/bucket/key").header("x-amz-storage-class", "GLACIER").body("x");
    s3.send(&class).refused(400, "InvalidStorageClass");
    s3.put("/bucket?policy", "{}").refused(501, "NotImplemented");
    s3.get("/bucket/key").refused(404, "NoSuchKey");
    s3.put("/bucket/key", "x").expect(200);
    s3.get("/bucket/key?versionId=null").expect(200);
    s3.get("/bucket/key?versionId=1").refused(404, "NoSuchVersion");
    running.stop();
}
