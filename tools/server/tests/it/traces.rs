//! Traces, as a collector gets them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::Value;

use crate::client::Call;
use crate::running::{dir, start_with};

/// Takes a request whole, and says that all is well.
fn take(mut stream: TcpStream) -> (String, Vec<u8>) {
    let mut taken = Vec::new();
    loop {
        let mut piece = [0; 65536];
        let len = stream.read(&mut piece).unwrap();
        assert!(len > 0, "a request ended before its time");
        taken.extend_from_slice(&piece[..len]);
        let Some(end) = taken.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(taken[..end].to_vec()).unwrap();
        let lower = head.to_ascii_lowercase();
        let len = lower.lines().find_map(|line| line.strip_prefix("content-length:"));
        let len: usize = len.expect("a length").trim().parse().unwrap();
        if taken.len() >= end + 4 + len {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .unwrap();
            return (head, taken[end + 4..].to_vec());
        }
    }
}

fn attribute<'a>(of: &'a Value, name: &str) -> &'a str {
    let mut all = of["attributes"].as_array().unwrap().iter();
    let found = all.find(|attribute| attribute["key"] == name).expect("it is there");
    let value = &found["value"];
    value["stringValue"].as_str().or(value["intValue"].as_str()).unwrap()
}

#[test]
fn each_request_is_a_span_of_the_trace_that_its_client_names() {
    let dir = dir();
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = collector.local_addr().unwrap();
    let settings = format!("traces = {{ collector = \"http://{address}\" }}");
    let running = start_with(dir.path(), &settings);
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let put = Call::new("PUT", "/bucket/a/key").header("traceparent", parent).body("value");
    let id = s3.send(&put).expect(200).header("x-amz-request-id").unwrap().to_owned();
    s3.get("/bucket/none").refused(404, "NoSuchKey");
    // One whose client does not want to be traced.
    let unwanted = parent.replace("-01", "-00");
    s3.send(&Call::new("GET", "/bucket/a/key").header("traceparent", &unwanted)).expect(200);
    // All that is left is sent at the end.
    let collected = std::thread::spawn(move || take(collector.accept().unwrap().0));
    running.stop();
    let (head, body) = collected.join().unwrap();
    assert!(head.starts_with("POST /v1/traces HTTP/1.1"), "{head}");
    let sent: Value = serde_json::from_slice(&body).unwrap();
    let all = &sent["resourceSpans"][0];
    assert_eq!(attribute(&all["resource"], "service.name"), "kogia-server");
    let spans = all["scopeSpans"][0]["spans"].as_array().unwrap();
    let names: Vec<_> = spans.iter().map(|span| span["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["CreateBucket", "PutObject", "GetObject"]);
    let (put, get) = (&spans[1], &spans[2]);
    assert_eq!(put["traceId"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(put["parentSpanId"], "b7ad6b7169203331");
    assert_eq!((&put["kind"], put["spanId"].as_str().unwrap().len()), (&2.into(), 16));
    let nanos = |name: &str| put[name].as_str().unwrap().parse::<u64>().unwrap();
    assert!(nanos("startTimeUnixNano") < nanos("endTimeUnixNano"));
    assert_eq!(attribute(put, "aws.request_id"), id);
    assert_eq!(attribute(put, "url.path"), "/bucket/a/key");
    assert_eq!(attribute(get, "http.response.status_code"), "404");
    assert!(get["parentSpanId"] == "" && get["traceId"] != put["traceId"]);
}

#[test]
fn no_request_waits_for_a_collector_that_is_away() {
    let dir = dir();
    // It listens, and never answers.
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = collector.local_addr().unwrap();
    let settings = format!("traces = {{ collector = \"http://{address}\", sample = 1.0 }}");
    let running = start_with(dir.path(), &settings);
    running.client.put("/bucket", "").expect(200);
    for n in 0..100 {
        running.client.put(&format!("/bucket/{n}"), "value").expect(200);
    }
    running.stop();
}
