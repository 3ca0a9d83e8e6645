//! shell, completions, man.

use super::Workplace;

#[test]
fn the_shell_takes_commands_from_a_pipe() {
    let place = Workplace::with_store();
    let input = b"set 'a key' \"a value\"\n\nget 'a key'\nset b '\\x01'\nrm 'a key'\nls\n\
        get b --range 0-0\nexit\nls\n";
    let run = place.run_with_input(input, ["shell", "s"]);
    assert_eq!(run.ok(), "a value\nb\n\x01\n");
}

#[test]
fn the_first_error_ends_a_piped_shell_with_its_exit_code() {
    let place = Workplace::with_store();
    let run = |input: &str| place.run_with_input(input.as_bytes(), ["shell", "s"]);
    run("get nothing\nset k v\n").fails(1, "no such key: nothing");
    run("jump\nset k v\n").fails(2, "jump");
    run("set 'k\n").fails(2, "quote");
    assert_eq!(place.ok(["ls", "s"]), "");
}

#[test]
fn the_shell_lists_its_commands() {
    let place = Workplace::with_store();
    let help = place.run_with_input(b"help\nget --help\n", ["shell", "s"]).ok();
    for command in ["set", "get", "rm", "ls", "head", "exit", "--range"] {
        assert!(help.contains(command), "{help}");
    }
}

#[test]
fn completions_and_man_pages_know_every_command() {
    let place = Workplace::empty();
    for shell in ["bash", "zsh", "fish"] {
        assert!(place.ok(["completions", shell]).contains("rebuild"), "{shell}");
    }
    place.run(["completions", "cobol"]).fails(2, "cobol");
    assert!(place.ok(["man"]).contains("Exit codes"));
    place.ok(["man", "pages"]);
    for page in ["kogia.1", "kogia-import.1", "kogia-man.1"] {
        assert!(!place.read(&format!("pages/{page}")).is_empty());
    }
}
