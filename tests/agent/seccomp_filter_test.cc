// The filter, run by a small interpreter of classic BPF: what the kernel would decide, on either architecture.
#include "agent/sandbox/seccomp_filter.h"

#include <catch2/catch.hpp>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstring>

using namespace quantfleet;

namespace {

#if defined(__x86_64__)
constexpr std::uint32_t kHere = AUDIT_ARCH_X86_64, kOther = AUDIT_ARCH_I386;
#else
constexpr std::uint32_t kHere = AUDIT_ARCH_AARCH64, kOther = AUDIT_ARCH_ARM;
#endif

std::uint32_t decision(long number, std::uint64_t first = 0, std::uint64_t second = 0, std::uint32_t architecture = kHere) {
  seccomp_data data{};
  data.nr = static_cast<int>(number);
  data.arch = architecture;
  data.args[0] = first, data.args[1] = second;
  const std::vector<sock_filter> program = seccomp_filter();
  std::uint32_t a = 0;
  for (std::size_t at = 0;; ++at) {
    REQUIRE(at < program.size());
    const sock_filter& step = program[at];
    switch (step.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        REQUIRE(step.k + 4 <= sizeof data);
        std::memcpy(&a, reinterpret_cast<const char*>(&data) + step.k, 4);
        break;
      case BPF_JMP | BPF_JEQ | BPF_K: at += a == step.k ? step.jt : step.jf; break;
      case BPF_JMP | BPF_JGE | BPF_K: at += a >= step.k ? step.jt : step.jf; break;
      case BPF_JMP | BPF_JSET | BPF_K: at += (a & step.k) ? step.jt : step.jf; break;
      case BPF_RET | BPF_K: return step.k;
      default: FAIL("the filter holds an instruction that it should not need: " << step.code);
    }
  }
}

constexpr std::uint32_t kForbidden = SECCOMP_RET_ERRNO | EPERM, kAbsent = SECCOMP_RET_ERRNO | ENOSYS;

}  // namespace

TEST_CASE("the filter allows what Python computes with and nothing that reaches out", "[sandbox]") {
  for (const long number : {SYS_read, SYS_write, SYS_openat, SYS_mmap, SYS_execve, SYS_exit_group, SYS_wait4, SYS_futex, SYS_getrandom})
    CHECK(decision(number) == SECCOMP_RET_ALLOW);
  CHECK(decision(SYS_socket) == kForbidden);
  CHECK(decision(SYS_socketpair) == SECCOMP_RET_ALLOW);
  for (const long number : {SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_unshare, SYS_setns, SYS_ptrace, SYS_process_vm_readv, SYS_bpf,
                            SYS_perf_event_open, SYS_keyctl, SYS_add_key, SYS_io_uring_setup, SYS_userfaultfd, SYS_memfd_create, SYS_shmget,
                            SYS_connect, SYS_bind, SYS_open_by_handle_at, SYS_init_module, SYS_kexec_load, SYS_reboot, SYS_clone3, SYS_setuid,
                            SYS_personality, SYS_seccomp, SYS_pidfd_getfd, SYS_mknodat})
    CHECK(decision(number) == kAbsent);
}

TEST_CASE("the filter looks into clone's flags and ioctl's request", "[sandbox]") {
  CHECK(decision(SYS_clone, 17) == SECCOMP_RET_ALLOW);                      // fork: SIGCHLD
  CHECK(decision(SYS_clone, 0x3d0f00) == SECCOMP_RET_ALLOW);                // a thread of glibc's
  for (const std::uint64_t flag : {0x80u, 0x20000u, 0x02000000u, 0x04000000u, 0x08000000u, 0x10000000u, 0x20000000u, 0x40000000u})
    CHECK(decision(SYS_clone, 17 | flag) == kForbidden);
  CHECK(decision(SYS_ioctl, 0, 0x5401) == SECCOMP_RET_ALLOW);               // TCGETS: isatty()
  CHECK(decision(SYS_ioctl, 0, 0x5412) == kForbidden);
  CHECK(decision(SYS_ioctl, 0, 0x541c) == kForbidden);
}

TEST_CASE("calls of another ABI end the process", "[sandbox]") {
  CHECK(decision(SYS_read, 0, 0, kOther) == SECCOMP_RET_KILL_PROCESS);
  CHECK(decision(0x40000000 | SYS_read) == SECCOMP_RET_KILL_PROCESS);
}
