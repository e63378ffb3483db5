#include "agent/probe/probe.h"

#include <catch2/catch.hpp>
#include <unistd.h>

#include <filesystem>
#include <fstream>

using namespace quantfleet;
using namespace quantfleet::agent;

namespace {

namespace fs = std::filesystem;

// A made-up machine's files.
struct Root {
  fs::path path = fs::temp_directory_path() / ("quantfleet-root-" + std::to_string(::getpid()));
  Root() { fs::remove_all(path); }
  ~Root() { fs::remove_all(path); }
  void write(const std::string& file, const std::string& text) const {
    fs::create_directories((path / file).parent_path());
    std::ofstream(path / file) << text;
  }
};

}  // namespace

TEST_CASE("a machine's facts are read from its files", "[probe]") {
  Root root;
  root.write("proc/cpuinfo", "processor\t: 0\nmodel name\t: Imaginary 9000\nflags\t: fpu\n");
  root.write("proc/meminfo", "MemTotal:       2048 kB\nMemFree: 1 kB\n");
  root.write("etc/os-release", "NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n");
  root.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
  const Device device = probe_device(root.path);
  CHECK(device.cpu_model == "Imaginary 9000");
  CHECK(device.memory_bytes == 2048 * 1024);
  CHECK(device.operating_system.starts_with("Debian GNU/Linux 12 (bookworm), Linux "));
  CHECK(device.cores >= 1);
  CHECK(device.host_id.size() == 16);
  CHECK(device.kernels.back() == "scalar");
}

TEST_CASE("a container's memory limit counts, \"max\" does not", "[probe]") {
  Root root;
  root.write("proc/meminfo", "MemTotal: 4096 kB\n");
  Device device;
  SECTION("limited") {
    root.write("sys/fs/cgroup/memory.max", "1048576\n");
    probe_memory(root.path, device);
    CHECK(device.memory_bytes == 1048576);
  }
  SECTION("unlimited") {
    root.write("sys/fs/cgroup/memory.max", "max\n");
    probe_memory(root.path, device);
    CHECK(device.memory_bytes == 4096 * 1024);
  }
}

TEST_CASE("a machine without any of these files is still described", "[probe]") {
  Root root;
  const Device device = probe_device(root.path);
  CHECK(device.memory_bytes == 0);
  CHECK(device.cpu_model.starts_with("unknown"));
  CHECK(device.host_id.size() == 16);
}

TEST_CASE("two machine ids give two host ids, one machine id always the same", "[probe]") {
  Root root;
  root.write("etc/machine-id", "aaaa\n");
  const std::string first = probe_host_id(root.path);
  CHECK(probe_host_id(root.path) == first);
  root.write("etc/machine-id", "bbbb\n");
  CHECK(probe_host_id(root.path) != first);
}
