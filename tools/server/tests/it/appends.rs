//! Appending, as S3 Express One Zone has it.

use kogia_server::data::attributes::Etag;
use kogia_server::data::{Attributes, BucketId, keys};

use crate::client::{Call, Client, Reply};
use crate::objects::bytes;
use crate::running::{dir, start};
use crate::uploads::parts_left;

fn append(s3: &Client, target: &str, offset: usize, body: Vec<u8>) -> Reply {
    let call = Call::new("PUT", target).header("x-amz-write-offset-bytes", &offset.to_string());
    s3.send(&call.body(body))
}

#[test]
fn an_object_grows_by_what_is_appended_and_by_nothing_else() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    // Begun by an append, by a small put, by a large one that is streamed, and by an empty one.
    for (key, first) in [("append", 0), ("small", 100), ("large", 9 << 20), ("empty", 0)] {
        let target = format!("/bucket/{key}");
        let mut whole = bytes(first);
        if key != "append" {
            let put = Call::new("PUT", &target).header("x-amz-meta-camera", "1");
            s3.send(&put.header("x-amz-tagging", "a=1").body(whole.clone())).expect(200);
        }
        let mut etags = Vec::new();
        for len in [10, 0, 4096, 300_000, 1, 2 << 20] {
            let more = bytes(len);
            append(s3, &target, whole.len() + 1, more.clone()).refused(400, "InvalidWriteOffset");
            let appended = append(s3, &target, whole.len(), more.clone()).expect(200);
            whole.extend_from_slice(&more);
            assert!(s3.get(&target).expect(200).body == whole, "{key} {len}");
            etags.push(appended.header("etag").unwrap().to_owned());
        }
        etags.dedup();
        assert_eq!(etags.len(), 6, "each has another");
        let head = s3.call("HEAD", &target).expect(200);
        assert_eq!(head.header("etag"), etags.last().map(String::as_str));
        if key != "append" {
            assert_eq!(head.header("x-amz-meta-camera"), Some("1"));
            assert_eq!(s3.get(&format!("{target}?tagging")).all_xml("Value"), ["1"]);
        }
        append(s3, &target, 0, bytes(5)).refused(400, "InvalidWriteOffset");
    }
    append(s3, "/bucket/absent", 1, bytes(5)).refused(400, "InvalidWriteOffset");
    let negative = Call::new("PUT", "/bucket/small").header("x-amz-write-offset-bytes", "-1");
    s3.send(&negative.body("x")).refused(400, "InvalidWriteOffset");
    assert_eq!(parts_left(&running.admin), 0);
    running.kill();

    let running = start(dir.path());
    let s3 = &running.client;
    for key in ["append", "small", "large", "empty"] {
        let target = format!("/bucket/{key}");
        let len = s3.get(&target).expect(200).body.len();
        append(s3, &target, len, b"end".to_vec()).expect(200);
        assert!(s3.get(&target).expect(200).body.ends_with(b"end"));
        s3.call("DELETE", &target).expect(204);
    }
    running.stop();
}

#[test]
fn an_object_has_no_more_parts_than_it_may_and_a_copy_begins_anew() {
    let dir = dir();
    let running = start(dir.path());
    running.client.put("/bucket", "").expect(200);
    running.stop();
    let home = dir.path().join("data/partitions/0");
    let store = kogia::Options::new().create(kogia::Create::Never).open(home).unwrap();
    for (key, parts) in [("full", 10_000), ("last", 9_999)] {
        let etag = Etag::Parts([7; 16], parts);
        let attributes = Attributes { etag, ..Attributes::of_nothing() }.encode();
        let options = kogia::PutOptions { attributes, ..kogia::PutOptions::default() };
        store.put_with(keys::object(BucketId(1), key), "body", &options).unwrap();
    }
    store.close().unwrap();
    let running = start(dir.path());
    let s3 = &running.client;
    append(s3, "/bucket/full", 4, b"x".to_vec()).refused(400, "TooManyParts");
    append(s3, "/bucket/last", 4, b"x".to_vec()).expect(200);
    append(s3, "/bucket/last", 5, b"y".to_vec()).refused(400, "TooManyParts");
    let copy = Call::new("PUT", "/bucket/copy").header("x-amz-copy-source", "/bucket/last");
    s3.send(&copy).expect(200);
    append(s3, "/bucket/copy", 5, b"y".to_vec()).expect(200);
    assert_eq!(s3.get("/bucket/copy").expect(200).text(), "bodyxy");
    assert_eq!(parts_left(&running.admin), 0);
    running.stop();
}

/// Tags that were set between an append's look at them and its end belonged to the object before.
#[test]
fn tags_that_are_set_while_an_object_grows_are_its_tags() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    s3.put("/bucket/key", bytes(10)).expect(200);
    for round in 0..60 {
        let tags = format!(
            "<Tagging><TagSet><Tag><Key>round</Key><Value>{round}</Value></Tag></TagSet></Tagging>"
        );
        std::thread::scope(|scope| {
            scope.spawn(|| append(s3, "/bucket/key", 10 * (round + 1), bytes(10)).expect(200));
            scope.spawn(|| s3.put("/bucket/key?tagging", tags).expect(200));
        });
        let told = s3.get("/bucket/key?tagging").expect(200);
        assert_eq!(told.all_xml("Value"), [round.to_string()]);
    }
    running.stop();
}

#[test]
fn of_many_who_append_at_one_place_one_does() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    for round in 0..4 {
        let replies: Vec<_> = std::thread::scope(|scope| {
            let one = |i: usize| append(s3, "/bucket/key", round * 8, vec![b'0' + i as u8; 8]);
            let threads: Vec<_> = (0..6).map(|i| scope.spawn(move || one(i))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let won = replies.iter().position(|reply| reply.status == 200).unwrap();
        let refused = replies.iter().filter(|reply| reply.code() == "InvalidWriteOffset");
        assert_eq!(refused.count(), 5);
        let body = s3.get("/bucket/key").expect(200).text();
        assert_eq!(body.len(), (round + 1) * 8);
        assert_eq!(&body[round * 8..], won.to_string().repeat(8));
    }
    assert_eq!(parts_left(&running.admin), 0);
    running.stop();
}

#[test]
fn a_checksum_of_the_whole_grows_with_it() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    let begun = Call::new("PUT", "/bucket/key").header("x-amz-sdk-checksum-algorithm", "CRC32");
    s3.send(&begun.body("1234")).expect(200);
    let wrong = Call::new("PUT", "/bucket/key")
        .header("x-amz-write-offset-bytes", "4")
        .header("x-amz-checksum-crc32", "AAAAAA==");
    s3.send(&wrong.body("56789")).refused(400, "BadDigest");
    let appended = append(s3, "/bucket/key", 4, b"56789".to_vec()).expect(200);
    assert_eq!(appended.header("x-amz-checksum-crc32"), Some("y/Q5Jg=="));
    assert_eq!(s3.get("/bucket/key").expect(200).text(), "123456789");
    running.stop();
}
