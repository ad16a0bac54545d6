//! C programs against the header and the library: the contract of each function, and the example.

use nearfab::ErrorCode;

use crate::support::{Linked, Program};

/// Compiles and runs a test program, then again under valgrind.
fn check(test: &str, source: &str) {
    if let Some(program) = Program::compile(test, source, Linked::Dynamically) {
        program.run(&[]);
        program.run_under_valgrind(test, &[]);
    }
}

#[test]
fn wrong_handles_are_errors() {
    check("wrong_handles_are_errors", "capi/tests/c/handles.c");
}

#[test]
fn wrong_arguments_are_errors() {
    check("wrong_arguments_are_errors", "capi/tests/c/arguments.c");
}

#[test]
fn threads_do_not_disturb_each_other() {
    check("threads_do_not_disturb_each_other", "capi/tests/c/threads.c");
}

#[test]
fn the_headers_error_numbers_are_those_of_rust() {
    let test = "the_headers_error_numbers_are_those_of_rust";
    let Some(program) = Program::compile(test, "capi/tests/c/constants.c", Linked::Dynamically) else { return };
    let mut expected = "NONE=0\n".to_owned();
    for code in ErrorCode::ALL {
        expected.push_str(&format!("{}={}\n", upper_snake(&format!("{code:?}")), code as i32));
    }
    assert_eq!(program.run(&[]), expected);
}

#[test]
fn the_example_prints_every_core_with_its_evidence() {
    let test = "the_example_prints_every_core_with_its_evidence";
    let Some(program) = Program::compile(test, "examples/c/near.c", Linked::Dynamically) else { return };
    let output = program.run(&["--instance", "trn2.48xlarge"]);
    assert_eq!(output.lines().count(), 128);
    assert!(output.contains("neuron5:0\t0000:57:00.0\ttable trn2.48xlarge\n"), "{output}");
    program.run_under_valgrind(test, &["--instance", "trn2.48xlarge"]);
    program.run(&[]);
}

#[test]
fn the_example_links_statically() {
    let test = "the_example_links_statically";
    let Some(program) = Program::compile(test, "examples/c/near.c", Linked::Statically) else { return };
    assert_eq!(program.run(&["--instance", "trn1.32xlarge"]).lines().count(), 32);
}

/// `NoSuchDevice` as `NO_SUCH_DEVICE`.
fn upper_snake(name: &str) -> String {
    let mut snake = String::new();
    for (i, character) in name.chars().enumerate() {
        if i > 0 && character.is_uppercase() {
            snake.push('_');
        }
        snake.extend(character.to_uppercase());
    }
    snake
}
