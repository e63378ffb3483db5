// The system calls that generated code may make: a classic BPF program for the kernel's seccomp, written by hand.
//   on the list        what a Python program needs to compute, read files, write to /tmp, start processes and wait for them
//   socket             EPERM: no sockets but the pairs that processes share with their children
//   clone              EPERM with any flag that asks for a new namespace; clone3 (flags out of reach) is not on the list
//   ioctl              EPERM for TIOCSTI and TIOCLINUX, which type into terminals
//   everything else    ENOSYS, as on a kernel that lacks it: mount, ptrace, bpf, keyctl, io_uring, userfaultfd, memfd_create ...
//   another ABI (32-bit calls, x32)  kills the process
// The list is one for x86_64 and aarch64; calls that an architecture lacks are left out when it is compiled.
// Source: Linux Documentation/userspace-api/seccomp_filter.rst.  Tests: tests/agent/seccomp_filter_test.cc
#pragma once

#include <linux/filter.h>

#include <vector>

namespace quantfleet {

// In the form that `bwrap --seccomp FD` reads: the bytes of these, in order.
std::vector<sock_filter> seccomp_filter();

}  // namespace quantfleet
