// What a process and all its descendants use together, read from /proc: the kernel's limits count each process alone.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace quantfleet {

struct TreeUse {
  std::uint64_t memory_bytes = 0;  // anonymous and shared pages in memory or swapped out; pages shared after a fork count for each
  double cpu_seconds = 0;          // of the living, and of the dead that somebody waited for
  int processes = 0;
};

// A snapshot that may miss a process that begins meanwhile. Takes some 10 us for each process of the machine.
TreeUse process_tree_use(pid_t root);

}  // namespace quantfleet
