#include "backends/engines/memory.h"

#include <fmt/format.h>
#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <optional>
#include <string>

namespace quantfleet {
namespace {

namespace fs = std::filesystem;
using Bytes = std::uint64_t;

// A file that holds one number ("max" is none).
std::optional<Bytes> number_in(const fs::path& path) {
  std::ifstream file(path);
  Bytes number = 0;
  if (file >> number) return number;
  return std::nullopt;
}

// The number behind a word of a list of words and numbers.
std::optional<Bytes> number_of(const fs::path& path, const std::string& name) {
  std::ifstream file(path);
  std::string word;
  for (Bytes number = 0; file >> word;)
    if (word == name && file >> number) return number;
  return std::nullopt;
}

struct GroupFiles {
  const char *limit, *usage, *droppable;
};
constexpr GroupFiles kVersion2{"memory.max", "memory.current", "inactive_file"};
constexpr GroupFiles kVersion1{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"};

// What is left in the group `path` below `top`, and in every group above it.
Bytes left_in_groups(const fs::path& top, const fs::path& path, const GroupFiles& files) {
  Bytes least = std::numeric_limits<Bytes>::max();
  for (fs::path group = path.relative_path();; group = group.parent_path()) {
    const fs::path folder = top / group;
    const auto limit = number_in(folder / files.limit), usage = number_in(folder / files.usage);
    if (limit && usage) {
      const Bytes used = *usage - std::min(*usage, number_of(folder / "memory.stat", files.droppable).value_or(0));
      least = std::min(least, *limit - std::min(*limit, used));
    }
    if (group.empty()) return least;
  }
}

// What the environment sets, where it does.
Result<std::optional<Bytes>> memory_limit() {
  const char* text = std::getenv("QUANTFLEET_MEMORY_BYTES");
  if (!text) return std::optional<Bytes>();
  const std::string_view digits = text;
  Bytes limit = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), limit);
  if (error != std::errc() || end != digits.data() + digits.size())
    return Error{Code::kUsage, fmt::format("QUANTFLEET_MEMORY_BYTES is '{}'; a whole number of bytes is expected", digits)};
  return std::optional<Bytes>(limit);
}

}  // namespace

Status check_memory_limit() {
  const auto limit = memory_limit();
  return limit ? Status() : limit.error();
}

Bytes available_memory_bytes(const fs::path& root) {
  Bytes least = std::numeric_limits<Bytes>::max();
  if (const auto kib = number_of(root / "proc/meminfo", "MemAvailable:")) least = *kib * 1024;
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "0::/path", or "4:memory:/path"
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1), path = line.substr(second + 1);
    const fs::path top = root / "sys/fs/cgroup";
    if (controllers.empty()) least = std::min(least, left_in_groups(top, path, kVersion2));
    else if (controllers.find("memory") != std::string::npos) least = std::min(least, left_in_groups(top / "memory", path, kVersion1));
  }
  if (const auto limit = memory_limit(); limit && *limit) least = std::min(least, **limit);
  return least == std::numeric_limits<Bytes>::max() ? 0 : least;
}

void give_back_memory() {
#if defined(__GLIBC__)
  ::malloc_trim(0);
#endif
  // Segments that are not writable are as the file has them, for code that is independent of its position.
  const auto give_back_pages = [](dl_phdr_info* object, std::size_t, void*) {
    const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    for (int i = 0; i < object->dlpi_phnum; ++i) {
      const ElfW(Phdr)& segment = object->dlpi_phdr[i];
      if (segment.p_type != PT_LOAD || segment.p_flags & PF_W) continue;  // a page that was written to would lose what was written
      const std::uintptr_t begin = (object->dlpi_addr + segment.p_vaddr) / page * page, end = object->dlpi_addr + segment.p_vaddr + segment.p_memsz;
      ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);  // a wish
    }
    return 0;
  };
  ::dl_iterate_phdr(give_back_pages, nullptr);
}

}  // namespace quantfleet
