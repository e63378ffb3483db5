// How much memory this process may still take, so that a model too large for it is refused instead of killed; and what it need not keep.
#pragma once

#include "contract/error.h"

#include <cstdint>
#include <filesystem>

namespace quantfleet {

// The least of: what the system calls available (/proc/meminfo), what is left below the limits of the process' control group and
// of the groups above it (version 1 or 2; file pages that the kernel can drop count as free), and the environment's
// QUANTFLEET_MEMORY_BYTES. 0: nobody knows. `root`: where /proc and /sys are, for tests.
std::uint64_t available_memory_bytes(const std::filesystem::path& root = "/");

// An error where QUANTFLEET_MEMORY_BYTES is set and no whole number.
Status check_memory_limit();

// Gives back what reading a model leaves behind: free memory of the heap, and the pages of the program and its libraries that are
// as in their files (relocation tables, what only runs at the start). What is used again comes back from the system's cache.
void give_back_memory();

}  // namespace quantfleet
