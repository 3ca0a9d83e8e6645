//! Programs in C that use the header and the library, compiled here and run.

use std::path::{Path, PathBuf};
use std::process::Command;

const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];
/// What `tests/c/queue.c` says when all is well.
const HOLDS: &str = "\
the_library_is_the_header_s
items_come_back_in_order
what_is_not_durable_is_shown_only_if_asked_for
truncation_and_retention_drop_from_the_front
a_stream_is_followed_in_another_thread
many_threads_append_through_one_handle
another_process_follows
a_consumer_goes_on_behind_what_it_has_committed
a_crash_leaves_a_cut
damage_is_an_error_or_a_gap
errors_say_what_is_wrong
null_is_an_error_and_no_crash
streams_outlive_their_queue
";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where cargo has put the library, beside this test.
fn libraries() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().to_owned()
}

fn compiler(variable: &str, default: &str, standard: &str) -> Command {
    let mut command = Command::new(std::env::var_os(variable).unwrap_or_else(|| default.into()));
    command.arg(standard).args(WARNINGS).arg("-I").arg(root().join("include"));
    command
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Compiles `tests/c/queue.c` and links it with `library`.
fn compile(library: &[&str], program: &Path) {
    let mut compiler = compiler("CC", "cc", "-std=c11");
    compiler.arg(root().join("tests/c/queue.c")).arg("-o").arg(program);
    run(compiler.arg("-pthread").arg("-L").arg(libraries()).args(library));
}

fn check(library: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let (program, data) = (dir.path().join("queue"), dir.path().join("data"));
    std::fs::create_dir(&data).unwrap();
    compile(library, &program);
    let said = run(Command::new(&program).arg(&data).env("LD_LIBRARY_PATH", libraries()));
    assert_eq!(said, HOLDS);
}

#[test]
fn a_c_program_uses_the_shared_library() {
    check(&["-lkogia_queue"]);
}

#[test]
fn a_c_program_uses_the_static_library() {
    check(&["-l:libkogia_queue.a", "-lstdc++", "-lm", "-ldl"]);
}

/// C++ has other rules for enumerators, and mangles names that are not told to be C's.
#[test]
fn the_header_is_cpp_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("version");
    for standard in ["-std=c++11", "-std=c++20"] {
        let mut compiler = compiler("CXX", "c++", standard);
        compiler.arg(root().join("tests/c/version.cpp")).arg("-o").arg(&program);
        run(compiler.arg("-L").arg(libraries()).arg("-lkogia_queue"));
        assert_eq!(run(Command::new(&program).env("LD_LIBRARY_PATH", libraries())), "1\n");
    }
}

/// The example of `docs/queue.md`.
#[test]
fn the_example_in_the_docs_works() {
    let docs = std::fs::read_to_string(root().join("../../docs/queue.md")).unwrap();
    let example = docs.split_once("```c\n").unwrap().1.split_once("```").unwrap().0;
    let dir = tempfile::tempdir().unwrap();
    let (source, program) = (dir.path().join("example.c"), dir.path().join("example"));
    std::fs::write(&source, example).unwrap();
    let mut compiler = compiler("CC", "cc", "-std=c11");
    compiler.arg(source).arg("-o").arg(&program);
    run(compiler.arg("-L").arg(libraries()).arg("-lkogia_queue"));
    let mut program = Command::new(program);
    program.current_dir(dir.path()).env("LD_LIBRARY_PATH", libraries());
    assert_eq!(run(&mut program), "frame 1 arrived\n");
}
