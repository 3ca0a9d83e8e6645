//! SIGKILL, at any moment: what was acknowledged is there, whole, and nothing else is.

use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::client::{Call, Client, amz_date, read_reply};
use crate::objects::bytes;
use crate::running::{Running, dir, start_with};
use crate::uploads::{SMALL_PARTS, begin, complete, part, parts_left};

/// A put whose end nobody may have heard of is there whole, or not at all.
type Acknowledged = Mutex<Vec<(String, usize)>>;

fn try_put(s3: &Client, target: &str, body: &[u8]) -> bool {
    let (request, _) = s3.signed(&Call::new("PUT", target).body(body), &amz_date(0));
    let Ok(mut stream) = std::net::TcpStream::connect(s3.address) else { return false };
    if stream.write_all(&request).is_err() {
        return false;
    }
    read_reply(&mut stream, true).is_some_and(|reply| reply.status == 200)
}

#[test]
fn what_was_acknowledged_outlives_the_process_and_nothing_is_there_in_part() {
    let dir = dir();
    let mut all = Vec::new();
    for round in 0..4 {
        let running = start_with(dir.path(), SMALL_PARTS);
        if round == 0 {
            running.client.put("/bucket", "").expect(200);
        }
        verify(&running, &all);
        let (stop, told) = (AtomicBool::new(false), Acknowledged::default());
        let s3 = &running.client;
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (stop, told) = (&stop, &told);
                scope.spawn(move || {
                    let sizes = [100, 4096, 200_000, 3 << 20];
                    for i in 0..40 {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let (key, len) =
                            (format!("{round}-{thread}-{i}"), sizes[(i + thread) % 4] + i);
                        if try_put(s3, &format!("/bucket/{key}"), &bytes(len)) {
                            told.lock().unwrap().push((key, len));
                        }
                    }
                });
            }
            while told.lock().unwrap().len() < 20 {
                std::thread::sleep(Duration::from_millis(10));
            }
            std::thread::sleep(Duration::from_millis(37 * round));
            stop_now(&running);
            stop.store(true, Ordering::Relaxed);
        });
        running.kill();
        let told = told.into_inner().unwrap();
        assert!(!told.is_empty(), "nothing was acknowledged in round {round}");
        all.extend(told);
    }
    let running = start_with(dir.path(), SMALL_PARTS);
    verify(&running, &all);
    running.stop();
}

fn stop_now(running: &Running) {
    let pid = rustix::process::Pid::from_child(&running.child);
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

fn verify(running: &Running, acknowledged: &[(String, usize)]) {
    let s3 = &running.client;
    for (key, len) in acknowledged {
        let got = s3.get(&format!("/bucket/{key}")).expect(200);
        assert!(got.body == bytes(*len), "{key}");
    }
    let (mut token, mut there) = (String::new(), 0);
    loop {
        let page = s3.get(&format!("/bucket?list-type=2{token}")).expect(200);
        for key in page.all_xml("Key") {
            let body = s3.get(&format!("/bucket/{key}")).expect(200).body;
            assert!(body == bytes(body.len()), "{key} is there in part");
            let expected = acknowledged.iter().find(|(other, _)| *other == key);
            assert!(expected.is_none_or(|(_, len)| *len == body.len()), "{key}");
            there += 1;
        }
        let Some(next) = page.xml("NextContinuationToken") else { break };
        token = format!("&continuation-token={next}");
    }
    assert!(there >= acknowledged.len());
}

#[test]
fn an_upload_goes_on_where_it_was_killed() {
    let dir = dir();
    let running = start_with(dir.path(), SMALL_PARTS);
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    let target = "/bucket/key";
    let upload = begin(s3, target);
    let bodies: Vec<_> = (0..6).map(|i| bytes(100_000 + i)).collect();
    let mut parts: Vec<_> =
        (1..=3).map(|n| (n, part(s3, target, &upload, n, bodies[n - 1].clone()))).collect();
    // Half of a part, and the end of the process.
    let half = Call::new("PUT", &format!("{target}?partNumber=4&uploadId={upload}"));
    let (request, _) = s3.signed(&half.body(bodies[3].clone()), &amz_date(0));
    let mut stream = s3.connect();
    stream.write_all(&request[..request.len() / 2]).unwrap();
    running.kill();

    let running = start_with(dir.path(), SMALL_PARTS);
    let s3 = &running.client;
    assert_eq!(parts_left(&running.admin), 3);
    let listed = s3.get(&format!("{target}?uploadId={upload}")).expect(200);
    assert_eq!(listed.all_xml("PartNumber"), ["1", "2", "3"]);
    for n in 4..=6 {
        parts.push((n, part(s3, target, &upload, n, bodies[n - 1].clone())));
    }
    complete(s3, target, &upload, &parts).expect(200);
    running.kill();

    let running = start_with(dir.path(), SMALL_PARTS);
    let s3 = &running.client;
    assert!(s3.get(target).expect(200).body == bodies.concat());
    assert_eq!(parts_left(&running.admin), 0);
    // It was completed, whoever asks.
    complete(s3, target, &upload, &parts).expect(200);
    running.stop();
}
