#include "agent/sandbox/process_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace quantfleet {
namespace {

std::string small_file(const std::string& path) {
  std::array<char, 4096> buffer;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  const ssize_t count = ::read(fd, buffer.data(), buffer.size());
  ::close(fd);
  return count > 0 ? std::string(buffer.data(), static_cast<std::size_t>(count)) : std::string();
}

struct Process {
  pid_t pid, parent;
  double cpu_seconds;
};

// proc(5), /proc/PID/stat: the name in parentheses may hold anything, so fields are counted from its last ')'.
bool read_process(pid_t pid, Process& process) {
  const std::string text = small_file(fmt::format("/proc/{}/stat", pid));
  const std::size_t end = text.rfind(')');
  if (end == std::string::npos) return false;
  int parent = 0;
  unsigned long user = 0, system = 0;
  long waited_user = 0, waited_system = 0;
  if (std::sscanf(text.c_str() + end + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld", &parent, &user, &system, &waited_user,
                  &waited_system) != 5)
    return false;
  static const double ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  process = {pid, parent, (static_cast<double>(user + system) + static_cast<double>(waited_user + waited_system)) / ticks};
  return true;
}

std::uint64_t memory_of(pid_t pid) {
  const std::string text = small_file(fmt::format("/proc/{}/status", pid));
  std::uint64_t kib = 0;
  for (const char* field : {"\nRssAnon:", "\nRssShmem:", "\nVmSwap:"})
    if (const std::size_t at = text.find(field); at != std::string::npos) kib += std::strtoull(text.c_str() + at + std::strlen(field), nullptr, 10);
  return kib << 10;
}

}  // namespace

TreeUse process_tree_use(pid_t root) {
  TreeUse use;
  DIR* directory = ::opendir("/proc");
  if (!directory) return use;
  std::multimap<pid_t, Process> children;
  std::vector<Process> tree;
  while (const dirent* entry = ::readdir(directory)) {
    Process process;
    if (!std::isdigit(static_cast<unsigned char>(entry->d_name[0])) || !read_process(std::atoi(entry->d_name), process)) continue;
    if (process.pid == root) tree.push_back(process);
    else children.emplace(process.parent, process);
  }
  ::closedir(directory);
  for (std::size_t i = 0; i < tree.size(); ++i) {
    const auto [begin, end] = children.equal_range(tree[i].pid);
    for (auto child = begin; child != end; ++child) tree.push_back(child->second);
    children.erase(begin, end);  // a number reused meanwhile cannot make a circle
  }
  use.processes = static_cast<int>(tree.size());
  for (const Process& process : tree) {
    use.memory_bytes += memory_of(process.pid);
    use.cpu_seconds += process.cpu_seconds;
  }
  return use;
}

}  // namespace quantfleet
