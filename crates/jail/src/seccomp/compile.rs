//! From the table to classic BPF: a balanced tree over ranges of numbers.
//!
//! The kernel runs the whole filter once for every system call number when it is installed (it learns which are
//! always allowed and never runs the filter for those again). A chain of comparisons makes that quadratic and
//! costs a start most of a millisecond; a tree keeps it at a dozen instructions a number.

use super::table::{Action, Check, Rule, Test};
use crate::sys::seccomp::Instruction;

const LD_ABS: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const RET: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const JUMP_IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
/// Set in the number of every x32 call; the architecture is x86_64 all the same.
const X32_BIT: u32 = 0x4000_0000;

/// What calls get that the table does not name: the answer of a kernel that does not have them.
const UNLISTED: Action = Action::Refuse(libc::ENOSYS);

/// Makes the program: foreign ABI ends the process, otherwise the table decides, otherwise `ENOSYS`.
pub fn compile(rules: &[Rule]) -> Vec<Instruction> {
    let mut program = Vec::with_capacity(rules.len());
    program.extend([
        op(LD_ABS, ARCH),
        branch(JUMP_IF_EQUAL, AUDIT_ARCH_X86_64, 1, 0),
        op(RET, libc::SECCOMP_RET_KILL_PROCESS),
        op(LD_ABS, NUMBER),
        branch(JUMP_IF_AT_LEAST, X32_BIT, 0, 1),
        op(RET, libc::SECCOMP_RET_KILL_PROCESS),
    ]);
    tree(&ranges(rules), &mut program);
    program
}

/// A run of numbers with one action, from `first` to the next range.
#[derive(Clone, Copy)]
struct Range {
    first: u32,
    action: Action,
}

fn ranges(rules: &[Rule]) -> Vec<Range> {
    let mut rules: Vec<&Rule> = rules.iter().collect();
    rules.sort_by_key(|rule| rule.number);
    let mut ranges: Vec<Range> = Vec::new();
    let mut push = |first, action| match ranges.last() {
        Some(last) if last.action == action => {}
        _ => ranges.push(Range { first, action }),
    };
    let mut next = 0;
    for rule in rules {
        if rule.number > next {
            push(next, UNLISTED);
        }
        push(rule.number, rule.action);
        next = rule.number + 1;
    }
    push(next, UNLISTED);
    ranges
}

/// Emits the search below this node. On entry the accumulator holds the number.
fn tree(ranges: &[Range], program: &mut Vec<Instruction>) {
    match ranges {
        [] => {}
        [one] => leaf(one.action, program),
        many => {
            let (low, high) = many.split_at(many.len() / 2);
            let here = program.len();
            program.push(op(JUMP, 0));
            tree(low, program);
            let over = program.len() - here - 1;
            // A conditional jump reaches 255 instructions, an unconditional one reaches them all.
            if let Ok(over) = u8::try_from(over) {
                program[here] = branch(JUMP_IF_AT_LEAST, high[0].first, over, 0);
            } else {
                program[here] = branch(JUMP_IF_AT_LEAST, high[0].first, 0, 1);
                program.insert(here + 1, op(JUMP, over as u32));
            }
            tree(high, program);
        }
    }
}

fn leaf(action: Action, program: &mut Vec<Instruction>) {
    match action {
        Action::Allow => program.push(op(RET, libc::SECCOMP_RET_ALLOW)),
        Action::Refuse(errno) => program.push(op(RET, libc::SECCOMP_RET_ERRNO | errno as u32)),
        Action::Deny(_) => program.push(op(RET, libc::SECCOMP_RET_USER_NOTIF)),
        Action::AllowIf(checks, _) => {
            for check in checks {
                test(check, program);
            }
            program.push(op(RET, libc::SECCOMP_RET_ALLOW));
        }
    }
}

/// Falls through when the check holds, otherwise notifies.
fn test(check: &Check, program: &mut Vec<Instruction>) {
    // The kernel's own view of these arguments is 32 bits wide, so the upper half says nothing.
    program.push(op(LD_ABS, ARGUMENTS + 8 * u32::from(check.argument)));
    program.push(op(AND, check.mask));
    let (values, listed_passes) = match check.test {
        Test::In(values) => (values, true),
        Test::NotIn(values) => (values, false),
    };
    let refuse = op(RET, libc::SECCOMP_RET_USER_NOTIF);
    let count = values.len() as u8;
    for (place, value) in values.iter().enumerate() {
        let left = count - 1 - place as u8;
        // A hit jumps past the other comparisons: onto the refusal, or past it.
        program.push(branch(JUMP_IF_EQUAL, *value, left + 1, 0));
    }
    if listed_passes {
        program.push(refuse);
    } else {
        program.push(op(JUMP, 1));
        program.push(refuse);
    }
}

fn op(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

fn branch(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::X86_64;
    use proptest::prelude::*;

    /// What the kernel's interpreter would answer, for the instructions that `compile` emits.
    fn run(program: &[Instruction], arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let (mut at, mut a) = (0usize, 0u32);
        loop {
            let Instruction { code, jt, jf, k } = program[at];
            at += 1;
            match code {
                LD_ABS => {
                    a = match k {
                        NUMBER => number,
                        ARCH => arch,
                        k => arguments[((k - ARGUMENTS) / 8) as usize] as u32,
                    }
                }
                AND => a &= k,
                RET => return k,
                JUMP => at += k as usize,
                JUMP_IF_EQUAL => at += usize::from(if a == k { jt } else { jf }),
                JUMP_IF_AT_LEAST => at += usize::from(if a >= k { jt } else { jf }),
                other => panic!("{other:#x} is not emitted"),
            }
        }
    }

    /// The same answer straight from the table.
    fn expected(rules: &[Rule], number: u32, arguments: [u64; 6]) -> u32 {
        match rules.iter().find(|rule| rule.number == number).map_or(UNLISTED, |rule| rule.action) {
            Action::Allow => libc::SECCOMP_RET_ALLOW,
            Action::Refuse(errno) => libc::SECCOMP_RET_ERRNO | errno as u32,
            Action::Deny(_) => libc::SECCOMP_RET_USER_NOTIF,
            Action::AllowIf(checks, _) => {
                let holds = checks.iter().all(|check| {
                    let value = arguments[usize::from(check.argument)] as u32 & check.mask;
                    match check.test {
                        Test::In(values) => values.contains(&value),
                        Test::NotIn(values) => !values.contains(&value),
                    }
                });
                if holds { libc::SECCOMP_RET_ALLOW } else { libc::SECCOMP_RET_USER_NOTIF }
            }
        }
    }

    #[test]
    fn every_number_gets_what_the_table_says() {
        let program = compile(X86_64);
        for number in 0..1100 {
            for arguments in
                [[0; 6], [u64::MAX; 6], [2, 1, 6, 0, 0, 0], [17, 3, 0, 0, 0, 0], [0x1000_0000; 6]]
            {
                let got = run(&program, AUDIT_ARCH_X86_64, number, arguments);
                assert_eq!(got, expected(X86_64, number, arguments), "call {number} {arguments:?}");
            }
        }
    }

    #[test]
    fn another_abi_ends_the_process() {
        let program = compile(X86_64);
        for number in [0, 1, 59, 200, 1000] {
            assert_eq!(run(&program, 0x4000_0003, number, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS);
            assert_eq!(
                run(&program, AUDIT_ARCH_X86_64, number | X32_BIT, [0; 6]),
                libc::SECCOMP_RET_KILL_PROCESS
            );
        }
    }

    #[test]
    fn no_path_through_the_tree_is_long() {
        let program = compile(X86_64);
        assert!(program.len() < 1000, "{} instructions", program.len());
    }

    #[test]
    fn a_jump_over_more_than_a_conditional_one_reaches_is_right() {
        let many: Vec<Rule> = (0..1200)
            .map(|number| Rule {
                number: 2 * number,
                name: "many",
                action: Action::Refuse(number as i32 + 1),
            })
            .collect();
        let program = compile(&many);
        for number in 0..2500 {
            let got = run(&program, AUDIT_ARCH_X86_64, number, [0; 6]);
            assert_eq!(got, expected(&many, number, [0; 6]), "call {number}");
        }
    }

    proptest! {
        #[test]
        fn random_calls_get_what_the_table_says(number in 0u32..600, arguments in any::<[u64; 6]>()) {
            let program = compile(X86_64);
            prop_assert_eq!(run(&program, AUDIT_ARCH_X86_64, number, arguments), expected(X86_64, number, arguments));
        }

        #[test]
        fn small_arguments_get_what_the_table_says(number in 0u32..600, arguments in prop::array::uniform6(0u64..64)) {
            let program = compile(X86_64);
            prop_assert_eq!(run(&program, AUDIT_ARCH_X86_64, number, arguments), expected(X86_64, number, arguments));
        }
    }
}
