//! Who may do what.

use crate::client::{Call, Client, amz_date};
use crate::running::{dir, start_with};

const KEYS: &str = r#"
anonymous = [{ bucket = "public", access = "read" }, { bucket = "hls", access = "write" }]
[[key]]
access_key = "CAMERA"
secret_key = "another-secret"
rule = [{ bucket = "camera-*", access = "write" }, { bucket = "shared", access = "read" }]
"#;

#[test]
fn a_key_has_the_rights_of_its_rules_and_nobody_has_more_than_given() {
    let dir = dir();
    let running = start_with(dir.path(), KEYS);
    let all = &running.client;
    let camera =
        Client { access_key: "CAMERA".into(), secret_key: "another-secret".into(), ..all.clone() };
    for bucket in ["camera-1", "shared", "secret", "public", "hls"] {
        all.put(&format!("/{bucket}"), "").expect(200);
        all.put(&format!("/{bucket}/key"), bucket).expect(200);
    }
    camera.put("/camera-1/other", "x").expect(200);
    camera.get("/camera-1/key").expect(200);
    camera.get("/shared/key").expect(200);
    camera.get("/shared?list-type=2").expect(200);
    camera.put("/shared/key", "x").refused(403, "AccessDenied");
    camera.call("DELETE", "/shared/key").refused(403, "AccessDenied");
    camera.call("POST", "/shared/key?uploads").refused(403, "AccessDenied");
    camera.put("/shared/key?tagging", "<Tagging/>").refused(403, "AccessDenied");
    for target in ["/secret/key", "/secret?list-type=2", "/secret?uploads", "/secret?location"] {
        camera.get(target).refused(403, "AccessDenied");
    }
    // Neither right of a rule is enough to create or delete.
    camera.put("/camera-2", "").refused(403, "AccessDenied");
    camera.call("DELETE", "/camera-1").refused(403, "AccessDenied");
    let copy =
        |from: &str, to: &str| camera.send(&Call::new("PUT", to).header("x-amz-copy-source", from));
    copy("/shared/key", "/camera-1/copy").expect(200);
    copy("/secret/key", "/camera-1/stolen").refused(403, "AccessDenied");
    copy("/secret/../shared/key", "/camera-1/stolen").refused(403, "AccessDenied");
    copy("/camera-1/key", "/shared/copy").refused(403, "AccessDenied");
    assert_eq!(camera.get("/").expect(200).all_xml("Name"), ["camera-1", "shared"]);

    let unsigned = |call: Call<'_>| all.send_unsigned(&call);
    assert_eq!(unsigned(Call::new("GET", "/public/key")).expect(200).text(), "public");
    unsigned(Call::new("PUT", "/hls/0001.ts").body("media")).expect(200);
    unsigned(Call::new("PUT", "/public/key").body("x")).refused(403, "AccessDenied");
    unsigned(Call::new("DELETE", "/hls")).refused(403, "AccessDenied");
    unsigned(Call::new("GET", "/secret/key")).refused(403, "AccessDenied");
    unsigned(Call::new("GET", "/")).refused(403, "AccessDenied");
    let override_ = Call::new("GET", "/public/key?response-content-type=text%2Fhtml");
    unsigned(override_).refused(400, "InvalidRequest");
    let through = camera.presigned("GET", "/secret/key", 60, &amz_date(0));
    unsigned(Call::new("GET", &through)).refused(403, "AccessDenied");
    running.stop();
}
