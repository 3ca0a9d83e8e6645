//! Appending, which is not there yet.

use crate::client::Call;
use crate::running::{dir, start};

/// Others overwrite the object in silence.
#[test]
fn an_append_is_refused_and_changes_nothing() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    s3.put("/bucket/key", "one").expect(200);
    for offset in ["0", "3", "-1"] {
        let append = Call::new("PUT", "/bucket/key").header("x-amz-write-offset-bytes", offset);
        s3.send(&append.body("two")).refused(501, "NotImplemented");
    }
    assert_eq!(s3.get("/bucket/key").expect(200).text(), "one");
    running.stop();
}
