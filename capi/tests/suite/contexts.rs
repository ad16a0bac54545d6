//! EFA interfaces that are opened from C and Python on an emulated machine, with a stub of libibverbs.

use std::process::Command;

use crate::faces::interpreter;
use crate::machine::{calls, on_machine};
use crate::support::{Linked, Program, run, top};

#[test]
fn users_in_c_share_one_context() {
    let test = "contexts::users_in_c_share_one_context";
    on_machine(
        test,
        |machine| machine.add_stub(),
        || {
            let Some(program) = Program::compile(test, "capi/tests/c/contexts.c", Linked::Dynamically) else { return };
            program.run(&[]);
            assert_eq!((calls("ibv_open_device"), calls("ibv_close_device")), (1, 1));
            program.run_under_valgrind(test, &[]);
        },
    );
}

#[test]
fn an_interface_opened_before_dlclose_is_shared_after_the_next_dlopen() {
    let test = "contexts::an_interface_opened_before_dlclose_is_shared_after_the_next_dlopen";
    on_machine(
        test,
        |machine| machine.add_stub(),
        || {
            let Some(program) = Program::compile(test, "capi/tests/c/reloaded.c", Linked::AtRunTime) else { return };
            program.run(&[&program.library(), "open"]);
            assert_eq!((calls("ibv_open_device"), calls("ibv_close_device")), (1, 1));
            program.run_under_valgrind(test, &[&program.library(), "open"]);
        },
    );
}

#[test]
fn users_in_python_share_one_context() {
    let test = "contexts::users_in_python_share_one_context";
    let Some(interpreter) = interpreter() else { return };
    on_machine(
        test,
        |machine| machine.add_stub(),
        || {
            run(Command::new(interpreter).arg(top().join("python/tests/contexts.py")));
            assert_eq!((calls("ibv_open_device"), calls("ibv_close_device")), (1, 1));
        },
    );
}
