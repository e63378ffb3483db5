#include "agent/probe/probe.h"

#include "backends/formats/file_hash.h"

#include <unistd.h>

#include <fstream>
#include <span>
#include <string>

namespace quantfleet::agent {
namespace {

std::string hostname() {
  char name[256] = "";
  if (::gethostname(name, sizeof name - 1) != 0) return "unknown";
  return name;
}

}  // namespace

std::string probe_host_id(const std::filesystem::path& root) {
  std::ifstream file(root / "etc/machine-id");
  std::string id;
  if (!std::getline(file, id) || id.empty()) id = hostname();
  const std::string salted = "quantfleet host " + id;
  return sha256_of_bytes(std::as_bytes(std::span(salted))).substr(0, 16);
}

Device probe_device(const std::filesystem::path& root) {
  Device device;
  device.host_id = probe_host_id(root);
  device.hostname = hostname();
  probe_cpu(root, device);
  probe_memory(root, device);
  probe_operating_system(root, device);
  probe_gpus(device);
  probe_kernels(device);
  return device;
}

}  // namespace quantfleet::agent
