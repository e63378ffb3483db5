#include "agent/sandbox/seccomp_filter.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace quantfleet {
namespace {

#if defined(__x86_64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
#error "the sandbox knows the system calls of x86_64 and aarch64 only"
#endif

// Below, an old call that aarch64 never had stands beside its successor.
constexpr std::uint32_t kAllowed[] = {
    // memory
    SYS_brk, SYS_mmap, SYS_munmap, SYS_mprotect, SYS_mremap, SYS_madvise, SYS_msync, SYS_membarrier,
    // files
    SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_pwrite64, SYS_lseek, SYS_openat, SYS_close, SYS_close_range, SYS_fstat,
    SYS_newfstatat, SYS_statx, SYS_faccessat, SYS_faccessat2, SYS_readlinkat, SYS_getdents64, SYS_getcwd, SYS_chdir, SYS_fchdir, SYS_mkdirat,
    SYS_unlinkat, SYS_renameat, SYS_renameat2, SYS_linkat, SYS_symlinkat, SYS_fchmod, SYS_fchmodat, SYS_fchown, SYS_fchownat, SYS_ftruncate,
    SYS_truncate, SYS_fallocate, SYS_fsync, SYS_fdatasync, SYS_utimensat, SYS_umask, SYS_flock, SYS_statfs, SYS_fstatfs, SYS_sendfile,
    SYS_copy_file_range, SYS_dup, SYS_dup3, SYS_fcntl, SYS_pipe2, SYS_fadvise64,
    // waiting
    SYS_ppoll, SYS_pselect6, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_eventfd2, SYS_futex, SYS_nanosleep, SYS_clock_nanosleep,
    SYS_timerfd_create, SYS_timerfd_settime, SYS_timerfd_gettime, SYS_restart_syscall, SYS_sched_yield,
    // between a program's own processes
    SYS_socketpair, SYS_sendto, SYS_recvfrom, SYS_sendmsg, SYS_recvmsg, SYS_shutdown, SYS_getsockopt, SYS_setsockopt,
    // processes, threads and signals of its own process namespace
    SYS_execve, SYS_exit, SYS_exit_group, SYS_wait4, SYS_waitid, SYS_kill, SYS_tkill, SYS_tgkill, SYS_rt_sigaction, SYS_rt_sigprocmask,
    SYS_rt_sigreturn, SYS_rt_sigpending, SYS_rt_sigsuspend, SYS_rt_sigtimedwait, SYS_sigaltstack, SYS_setitimer, SYS_getitimer,
    SYS_set_tid_address, SYS_set_robust_list, SYS_get_robust_list, SYS_rseq, SYS_prctl, SYS_setsid, SYS_setpgid, SYS_getpgid, SYS_getsid,
    SYS_getpid, SYS_getppid, SYS_gettid, SYS_prlimit64, SYS_getrlimit, SYS_setrlimit, SYS_getrusage, SYS_times, SYS_getpriority,
    SYS_setpriority, SYS_sched_getaffinity, SYS_sched_setaffinity, SYS_sched_getparam, SYS_sched_getscheduler,
    SYS_sched_get_priority_max, SYS_sched_get_priority_min,
    // who and where
    SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getgroups, SYS_getresuid, SYS_getresgid, SYS_uname, SYS_sysinfo,
    SYS_clock_gettime, SYS_clock_getres, SYS_gettimeofday, SYS_getrandom, SYS_getcpu,
#if defined(__x86_64__)
    SYS_open, SYS_stat, SYS_lstat, SYS_access, SYS_readlink, SYS_getdents, SYS_mkdir, SYS_rmdir, SYS_unlink, SYS_rename, SYS_link, SYS_symlink,
    SYS_chmod, SYS_chown, SYS_lchown, SYS_creat, SYS_utime, SYS_utimes, SYS_dup2, SYS_pipe, SYS_poll, SYS_select, SYS_epoll_create,
    SYS_epoll_wait, SYS_eventfd, SYS_fork, SYS_vfork, SYS_getpgrp, SYS_alarm, SYS_pause, SYS_time, SYS_arch_prctl,
#endif
};

// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET and NEWTIME.
constexpr std::uint32_t kNamespaces = 0x7e020000u | 0x80u;
constexpr std::uint32_t kTiocsti = 0x5412, kTioclinux = 0x541c;

sock_filter load(std::size_t offset) { return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset)); }
sock_filter give(std::uint32_t action) { return BPF_STMT(BPF_RET | BPF_K, action); }
sock_filter equal(std::uint32_t value, std::uint8_t yes, std::uint8_t no) { return BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no); }
// The low half of an argument (little-endian on both architectures).
std::size_t argument(int i) { return offsetof(seccomp_data, args) + 8 * static_cast<std::size_t>(i); }

}  // namespace

std::vector<sock_filter> seccomp_filter() {
  const std::uint32_t forbidden = SECCOMP_RET_ERRNO | EPERM, absent = SECCOMP_RET_ERRNO | ENOSYS;
  std::vector<sock_filter> program = {
      load(offsetof(seccomp_data, arch)),
      equal(kArchitecture, 1, 0), give(SECCOMP_RET_KILL_PROCESS),
      load(offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000u, 0, 1), give(SECCOMP_RET_KILL_PROCESS),  // x32
      equal(SYS_socket, 0, 1), give(forbidden),
      equal(SYS_clone, 0, 4), load(argument(0)), BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, kNamespaces, 0, 1), give(forbidden), give(SECCOMP_RET_ALLOW),
      equal(SYS_ioctl, 0, 5), load(argument(1)), equal(kTiocsti, 1, 0), equal(kTioclinux, 0, 1), give(forbidden), give(SECCOMP_RET_ALLOW),
  };
  for (const std::uint32_t number : kAllowed) {
    program.push_back(equal(number, 0, 1));
    program.push_back(give(SECCOMP_RET_ALLOW));
  }
  program.push_back(give(absent));
  return program;
}

}  // namespace quantfleet
