//! The header is what the sources say.

use std::path::Path;

const HEADER: &str = "include/kogia_queue.h";
/// In the order in which the header has them.
const SOURCES: [&str; 6] = ["version", "error", "options", "queue", "stream", "consumer"];

fn generate(root: &Path) -> String {
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in SOURCES {
        builder = builder.with_src(root.join("src").join(source).with_extension("rs"));
    }
    let mut header = Vec::new();
    builder.generate().unwrap().write(&mut header);
    String::from_utf8(header).unwrap()
}

/// With `KOGIA_WRITE_HEADER=1` it is written instead.
#[test]
fn the_header_is_made_from_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let generated = generate(root);
    if std::env::var_os("KOGIA_WRITE_HEADER").is_some() {
        std::fs::write(root.join(HEADER), generated).unwrap();
        return;
    }
    let checked_in = std::fs::read_to_string(root.join(HEADER)).unwrap();
    assert!(
        checked_in == generated,
        "{HEADER} is not what the sources say: run this test with KOGIA_WRITE_HEADER=1"
    );
}

/// So that none is left out of what the header is made from.
#[test]
fn every_exported_function_is_in_the_header() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let header = std::fs::read_to_string(root.join(HEADER)).unwrap();
    let mut exported = 0;
    for file in std::fs::read_dir(root.join("src")).unwrap() {
        let source = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for (at, _) in source.match_indices("extern \"C\" fn ") {
            let rest = &source[at + "extern \"C\" fn ".len()..];
            let name = &rest[..rest.find('(').unwrap()];
            assert!(header.contains(&format!("{name}(")), "{name}");
            exported += 1;
        }
    }
    assert!(exported > 30, "{exported}");
}
