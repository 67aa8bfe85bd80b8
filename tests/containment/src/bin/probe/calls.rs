//! System calls by number.

use containment::Facts;
use containment::sys::{self, End, Shared, attempt, in_child};

const X32_BIT: i64 = 0x4000_0000;

/// What a filter answers to each number of the native ABI, with arguments of 0, and with all bits set. No call is run:
/// a filter of the probe's own stops those that get past the ones before it, with `ENOSYS`.
pub(crate) fn matrix(most: usize) -> Facts {
    let answers = Shared::new(2 * (most + 1));
    let end = in_child(|| {
        if sys::run_nothing().is_err() {
            return 1;
        }
        for number in 0..=most {
            if !sys::can_be_stopped(number as i64) {
                continue;
            }
            for (place, arguments) in [[0; 6], [u64::MAX; 6]].into_iter().enumerate() {
                let answer = sys::call(number as i64, arguments);
                answers.set(2 * number + place, answer.err().unwrap_or(-1));
            }
        }
        0
    });
    let mut facts = Facts::from([("end".to_owned(), format!("{end:?}"))]);
    for number in (0..=most).filter(|number| sys::can_be_stopped(*number as i64)) {
        for (place, arguments) in ["0", "-1"].into_iter().enumerate() {
            let answer = match answers.get(2 * number + place) {
                -1 => "ok".to_owned(),
                errno => containment::errno::name(errno),
            };
            facts.insert(format!("{number}({arguments})"), answer);
        }
    }
    facts
}

/// What becomes of a process that makes a call of another ABI. None is run.
pub(crate) fn foreign(most: usize) -> Facts {
    let x32 = ends(most, |number| sys::call(number as i64 | X32_BIT, [0; 6]));
    let i386 = ends(most, |number| sys::call_i386(number as u32));
    let mut facts = Facts::new();
    for (abi, ends) in [("x32", x32), ("i386", i386)] {
        for (number, end) in ends.into_iter().enumerate() {
            let end = match end {
                End::Exited(0) => "lives".to_owned(),
                End::Exited(_) => "no filter".to_owned(),
                End::Signaled(signal) => format!("signal {signal}"),
            };
            facts.insert(format!("{abi} {number}"), end);
        }
    }
    facts
}

/// How each call ends the process that makes it. One that lives goes on with the next; the one after an end is made by
/// a new process.
fn ends<T>(most: usize, call: impl Fn(usize) -> T) -> Vec<End> {
    let reached = Shared::new(1);
    let mut ends = Vec::new();
    while ends.len() <= most {
        let first = ends.len();
        reached.set(0, first as i32);
        let end = in_child(|| {
            if sys::run_nothing().is_err() {
                return 1;
            }
            for number in first..=most {
                reached.set(0, number as i32);
                let _ = call(number);
            }
            0
        });
        ends.resize_with(reached.get(0) as usize, || End::Exited(0));
        ends.push(end);
    }
    ends
}

/// What comes of calls that are really made, each in a process of its own, with all bits of all arguments set: no such
/// descriptor, address, flag or process exists.
pub(crate) fn real(numbers: &[&str]) -> Facts {
    let numbers = numbers.iter().filter_map(|number| number.parse::<i64>().ok());
    numbers.map(|number| (number.to_string(), attempt(|| sys::call(number, [u64::MAX; 6])))).collect()
}

/// The three calls of io_uring, the first with parameters that the kernel takes.
pub(crate) fn io_uring() -> Facts {
    let parameters = [0_u64; 15];
    let setup = [4, parameters.as_ptr() as u64, 0, 0, 0, 0];
    Facts::from([
        ("setup".to_owned(), attempt(|| sys::call(libc::SYS_io_uring_setup, setup))),
        ("enter".to_owned(), attempt(|| sys::call(libc::SYS_io_uring_enter, [1000, 1, 1, 0, 0, 0]))),
        ("register".to_owned(), attempt(|| sys::call(libc::SYS_io_uring_register, [1000, 0, 0, 0, 0, 0]))),
    ])
}
