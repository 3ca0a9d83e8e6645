//! Listings, page by page, against their definition.

use std::collections::BTreeSet;

use crate::client::{Client, Reply, encode, path};
use crate::running::{dir, start};

const KEYS: &[&str] = &[
    "a", "a/", "a/b", "a/b/c", "a/b/d", "a//x", "a b+c&d", "b--1", "b--2", "b-3", "c<d>", "c\"e'",
    "ü/1", "ü/2", "z/%2F", "z/../x", "z/~",
];

fn filled(s3: &Client) {
    s3.put("/bucket", "").expect(200);
    for key in KEYS {
        s3.put(&format!("/bucket/{}", path(key)), *key).expect(200);
    }
}

/// What a listing consists of, by its definition.
fn reference(prefix: &str, delimiter: &str, after: &str) -> Vec<String> {
    let mut entries = BTreeSet::new();
    let keys: BTreeSet<_> = KEYS.iter().collect();
    let mut listed = Vec::new();
    for key in keys.into_iter().filter(|key| key.starts_with(prefix) && **key > after) {
        let rest = &key[prefix.len()..];
        let entry = match rest.find(delimiter) {
            Some(at) if !delimiter.is_empty() => {
                format!("{prefix}{}", &rest[..at + delimiter.len()])
            }
            _ => (*key).to_string(),
        };
        if entries.insert(entry.clone()) {
            listed.push(entry);
        }
    }
    listed
}

fn unescape(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    text.replace("&apos;", "'").replace("&amp;", "&")
}

/// Keys and common prefixes of a page, in their order.
fn entries(page: &Reply) -> Vec<String> {
    let prefixes = page.all_xml("CommonPrefixes").into_iter();
    let prefixes = prefixes.filter_map(|common| {
        Some(common.strip_prefix("<Prefix>")?.strip_suffix("</Prefix>")?.to_owned())
    });
    let mut all: Vec<_> = page.all_xml("Key").into_iter().chain(prefixes).collect();
    all = all.iter().map(|entry| unescape(entry)).collect();
    all.sort();
    all
}

#[test]
fn both_listings_page_through_what_is_there() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    filled(s3);
    for prefix in ["", "a", "a/", "b", "z/", "ü/", "none"] {
        for delimiter in ["", "/", "--", "b/"] {
            let expected = reference(prefix, delimiter, "");
            for max_keys in [1, 2, 3, 1000] {
                let asked = format!(
                    "max-keys={max_keys}&prefix={}&delimiter={}",
                    encode(prefix),
                    encode(delimiter)
                );
                let (mut second, mut first) = (Vec::new(), Vec::new());
                let mut token = String::new();
                loop {
                    let page = s3.get(&format!("/bucket?list-type=2&{asked}{token}")).expect(200);
                    second.extend(entries(&page));
                    assert!(page.xml("KeyCount").unwrap().parse::<usize>().unwrap() <= max_keys);
                    let Some(next) = page.xml("NextContinuationToken") else { break };
                    token = format!("&continuation-token={}", encode(&next));
                }
                assert_eq!(second, expected, "{asked}");
                let mut marker = String::new();
                loop {
                    let page = s3.get(&format!("/bucket?{asked}{marker}")).expect(200);
                    let listed = entries(&page);
                    if page.xml("IsTruncated").as_deref() != Some("true") {
                        first.extend(listed);
                        break;
                    }
                    let next = match page.xml("NextMarker") {
                        Some(next) => unescape(&next),
                        None => listed.last().unwrap().clone(),
                    };
                    first.extend(listed);
                    marker = format!("&marker={}", encode(&next));
                }
                assert_eq!(first, expected, "{asked}");
            }
        }
    }
    running.stop();
}

#[test]
fn what_is_asked_for_in_a_listing_is_what_comes() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    filled(s3);
    let after = s3.get("/bucket?list-type=2&start-after=b").expect(200);
    assert_eq!(entries(&after), reference("", "", "b"));
    let encoded = s3.get("/bucket?list-type=2&encoding-type=url&prefix=a%20").expect(200);
    assert_eq!(encoded.all_xml("Key"), ["a%20b%2Bc%26d"]);
    assert_eq!(encoded.xml("EncodingType").as_deref(), Some("url"));
    let owned = s3.get("/bucket?list-type=2&fetch-owner=true&prefix=a%20").expect(200);
    assert!(owned.xml("Owner").is_some());
    assert!(s3.get("/bucket?list-type=2&prefix=a%20").expect(200).xml("Owner").is_none());
    let object = s3.get("/bucket?list-type=2&prefix=b-3").expect(200);
    assert_eq!(object.xml("Size").as_deref(), Some("3"));
    assert_eq!(object.xml("StorageClass").as_deref(), Some("STANDARD"));
    let none = s3.get("/bucket?list-type=2&max-keys=0").expect(200);
    assert_eq!((entries(&none).len(), none.xml("IsTruncated").as_deref()), (0, Some("false")));
    s3.get("/bucket?list-type=2&max-keys=-1").refused(400, "InvalidArgument");
    s3.get("/bucket?list-type=2&continuation-token=%21").refused(400, "InvalidArgument");
    s3.get("/bucket?list-type=2&encoding-type=base64").refused(400, "InvalidArgument");
    let most = s3.get("/bucket?list-type=2&max-keys=5000").expect(200);
    assert_eq!(most.xml("MaxKeys").as_deref(), Some("1000"));
    s3.get("/absent?list-type=2").refused(404, "NoSuchBucket");
    for key in KEYS {
        let got = s3.get(&format!("/bucket/{}", path(key))).expect(200);
        assert_eq!(got.text(), *key);
    }
    running.stop();
}
