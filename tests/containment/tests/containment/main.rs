//! The containment tests: one file for each class of failure.

#[path = "ct_01_posture_diff.rs"]
mod ct_01;
#[path = "ct_02_fd_inheritance.rs"]
mod ct_02;
#[path = "ct_03_exe_and_cwd.rs"]
mod ct_03;
#[path = "ct_04_env_scrub.rs"]
mod ct_04;
#[path = "ct_05_host_canary_read.rs"]
mod ct_05;
#[path = "ct_06_ro_zone_immutable.rs"]
mod ct_06;
#[path = "ct_11_proc_sys_writable_set.rs"]
mod ct_11;
#[path = "ct_12_dev_set.rs"]
mod ct_12;
#[path = "ct_13_syscall_matrix.rs"]
mod ct_13;
#[path = "ct_14_no_new_userns.rs"]
mod ct_14;
#[path = "ct_15_no_io_uring.rs"]
mod ct_15;
#[path = "ct_16_dangerous_syscalls.rs"]
mod ct_16;
#[path = "ct_17_no_privilege_gain.rs"]
mod ct_17;
#[path = "ct_18_tty_injection.rs"]
mod ct_18;
#[path = "ct_19_socket_families.rs"]
mod ct_19;
#[path = "ct_21_visibility.rs"]
mod ct_21;
mod refusal;
mod report;
