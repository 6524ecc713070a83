//! What a program may do that a tracer must stand.

use std::ffi::CString;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::work::{Kind, Work};

/// Calls `work` of a shared library, which it never unloads.
pub fn load(path: &str, rounds: u64) -> u64 {
    let path = CString::new(path).unwrap();
    unsafe {
        let library = libc::dlopen(path.as_ptr(), libc::RTLD_NOW);
        assert!(!library.is_null(), "dlopen");
        let work = libc::dlsym(library, c"work".as_ptr());
        assert!(!work.is_null(), "dlsym");
        std::mem::transmute::<*mut libc::c_void, extern "C" fn(u64) -> u64>(work)(rounds)
    }
}

/// A child with one thread, which works with a runtime of its own until it is told to end: 0 when it did so rightly.
pub fn fork(kind: Kind, checksum: u64) -> i32 {
    static GOES_ON: AtomicBool = AtomicBool::new(true);
    extern "C" fn end(_: i32) {
        GOES_ON.store(false, Ordering::Relaxed);
    }
    let end: extern "C" fn(i32) = end;
    unsafe { libc::signal(libc::SIGUSR1, end as libc::sighandler_t) };
    let child = unsafe { libc::fork() };
    if child == 0 {
        let mut work = Work::new(kind);
        let mut is_right = true;
        while GOES_ON.load(Ordering::Relaxed) {
            is_right &= work.chunk() == checksum;
            std::thread::sleep(Duration::from_millis(2));
        }
        unsafe { libc::_exit(i32::from(!is_right)) };
    }
    child
}

/// Whether the child worked rightly.
pub fn reap(child: i32) -> bool {
    let mut status = -1;
    unsafe {
        libc::kill(child, libc::SIGUSR1);
        libc::waitpid(child, &mut status, 0);
    }
    status == 0
}

pub fn exec(command: &[&str]) {
    let error = Command::new(command[0]).args(&command[1..]).exec();
    panic!("exec: {error}");
}

/// As a main thread may do that others outlive.
pub fn end_this_thread() -> ! {
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!();
}

/// From here on system calls that no Rust program makes of its own kill the process: of those from 335 on, among them
/// what a probe could make a program call, only clone3 is let through; below, ptrace and reading other processes.
pub fn filter_system_calls() {
    const LOAD_NUMBER: u16 = 0x20;
    const IF_EQUAL: u16 = 0x15;
    const IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut filter = [
        step(LOAD_NUMBER, 0, 0, 0),
        step(IF_EQUAL, 4, 0, libc::SYS_clone3 as u32),
        step(IF_EQUAL, 4, 0, libc::SYS_ptrace as u32),
        step(IF_EQUAL, 3, 0, libc::SYS_process_vm_readv as u32),
        step(IF_AT_LEAST, 2, 0, 335),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        step(RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program), 0);
    }
}
