//! XML that is malformed, or does not end.

use super::{assert_untouched, filled};
use crate::client::{Call, amz_date};
use crate::running::{dir, start_with};

#[test]
fn xml_that_is_malformed_changes_nothing() {
    let dir = dir();
    let running = start_with(dir.path(), "[limits]\nxml_bytes = \"256KiB\"");
    let s3 = &running.client;
    filled(s3);
    let upload = crate::uploads::begin(s3, "/bucket/new");
    let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;\"><!ENTITY c \"&b;&b;&b;&b;&b;&b;\">]>";
    let deep = "<a>".repeat(50_000);
    let long = "x".repeat(300_000);
    for body in [
        String::new(),
        "rubbish".into(),
        "<".into(),
        "<Delete>".into(),
        "<Delete></Wrong>".into(),
        "<Delete/>".into(),
        "<Delete><Object/></Delete>".into(),
        "<Delete><Object><Key></Key></Object></Delete>".into(),
        "<Delete><Object><Key>key</Object></Delete>".into(),
        "<Other><Object><Key>key</Key></Object></Other>".into(),
        format!("{bomb}<Delete><Object><Key>&c;</Key></Object></Delete>"),
        "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><Delete><Object><Key>&e;</Key></Object></Delete>".into(),
        "<Delete><Object><Key>&undefined;</Key></Object></Delete>".into(),
        deep.clone(),
        format!("<Delete><Object><Key>{long}</Key></Object></Delete>"),
        "<Delete><Object><Key>\u{0}</Key></Object>".into(),
        format!("<Delete><Object><Key>{}</Key></Object></Delete>", "k".repeat(1025)),
    ] {
        let what = &body[..body.len().min(60)].to_owned();
        let call = Call::new("POST", "/bucket?delete").body(body);
        let reply = s3.exchange(&s3.signed(&call, &amz_date(0)).0);
        let told = (400..500).contains(&reply.status)
            || reply.status == 200 && !reply.all_xml("Error").is_empty();
        assert!(told, "{what}: {} {}", reply.status, reply.text());
    }
    let part = |number: &str, etag: &str| {
        format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
    };
    let parts =
        |parts: String| format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    for body in [
        String::new(),
        "<CompleteMultipartUpload/>".into(),
        parts(part("", "\"x\"")),
        parts(part("x", "\"x\"")),
        parts(part("0", "\"x\"")),
        parts(part("-1", "\"x\"")),
        parts(part("1", "\"x\"")),
        parts(part("1", "")),
        parts(part("99999999999999999999", "\"x\"")),
        parts("<Part/>".into()),
        parts(part("1", "\"x\"").repeat(4000)),
        deep,
    ] {
        let what = &body[..body.len().min(60)].to_owned();
        let call = Call::new("POST", &format!("/bucket/new?uploadId={upload}")).body(body);
        let reply = s3.exchange(&s3.signed(&call, &amz_date(0)).0);
        assert!((400..500).contains(&reply.status), "{what}: {} {}", reply.status, reply.text());
    }
    for body in [
        "",
        "<Tagging>",
        "<Tagging/>",
        "<Tagging><TagSet><Tag/></TagSet></Tagging>",
        "<Tagging><TagSet><Tag><Key>k</Key></Tag></TagSet></Tagging>",
    ] {
        let reply = s3.put("/bucket/key?tagging", body);
        assert!(matches!(reply.status, 200 | 400), "{body}: {}", reply.status);
    }
    assert_untouched(&running);
    running.stop();
}

#[test]
fn settings_that_are_malformed_change_none() {
    let dir = dir();
    let running = start_with(dir.path(), "[limits]\nxml_bytes = \"64KiB\"");
    let s3 = &running.client;
    filled(s3);
    let documents = |root: &str, inside: &str| {
        [
            String::new(),
            "rubbish".into(),
            format!("<{root}>"),
            format!("<{root}>{}", &inside[..inside.len() - 20]),
            format!("<{root}></Wrong>"),
            format!("<Wrong>{inside}</Wrong>"),
            format!("<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><{root}>&e;</{root}>"),
            format!("<{root}>{}</{root}>", "<a>".repeat(5_000)),
            format!("<{root}>{}</{root}>", inside.repeat(2_000)),
        ]
    };
    let rule = |inside: &str| {
        format!("<LifecycleConfiguration><Rule>{inside}</Rule></LifecycleConfiguration>")
    };
    let cors = |inside: &str| {
        format!("<CORSConfiguration><CORSRule>{inside}</CORSRule></CORSConfiguration>")
    };
    let lifecycle = "<Rule><ID>a</ID><Status>Enabled</Status><Filter><Prefix>a</Prefix></Filter><Expiration><Days>1</Days></Expiration></Rule>";
    let origin =
        "<CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule>";
    let cases = [
        ("versioning", documents("VersioningConfiguration", "<Status>Sometimes</Status>").to_vec()),
        ("cors", documents("CORSConfiguration", origin).to_vec()),
        ("lifecycle", documents("LifecycleConfiguration", lifecycle).to_vec()),
        (
            "lifecycle",
            vec![
                rule(""),
                rule("<Status>Enabled</Status>"),
                rule("<Status>Maybe</Status><Expiration><Days>1</Days></Expiration>"),
                rule("<Status>Enabled</Status><Expiration><Days>0</Days></Expiration>"),
                rule("<Status>Enabled</Status><Expiration><Days>-1</Days></Expiration>"),
                rule("<Status>Enabled</Status><Expiration><Days>99999999999</Days></Expiration>"),
                rule("<Status>Enabled</Status><Expiration><Days>soon</Days></Expiration>"),
            ],
        ),
        (
            "cors",
            vec![
                cors(""),
                cors("<AllowedMethod>GET</AllowedMethod>"),
                cors("<AllowedOrigin>*</AllowedOrigin>"),
                cors("<AllowedMethod>FROB</AllowedMethod><AllowedOrigin>*</AllowedOrigin>"),
                cors("<AllowedMethod>GET</AllowedMethod><AllowedOrigin>*.*.org</AllowedOrigin>"),
            ],
        ),
    ];
    let settings = |name: &str| s3.get(&format!("/bucket?{name}"));
    let before = ["versioning", "cors", "lifecycle"].map(|name| settings(name).status);
    for (name, bodies) in cases {
        for body in bodies {
            let what = &body[..body.len().min(80)].to_owned();
            let reply = s3.put(&format!("/bucket?{name}"), body);
            assert!(
                (400..500).contains(&reply.status),
                "{name}: {what}: {} {}",
                reply.status,
                reply.text()
            );
        }
    }
    assert_eq!(["versioning", "cors", "lifecycle"].map(|name| settings(name).status), before);
    assert_untouched(&running);
    running.stop();
}
