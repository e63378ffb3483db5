// What this machine is: CPU, memory, GPUs, kernel families, operating system. Facts only; nothing is measured.
// A new probe adds its file and a line in probe.cc (docs/adding-a-probe.md).
#pragma once

#include "contract/device.h"

#include <filesystem>

namespace quantfleet::agent {

// `root`: tests give a made-up tree with proc/ and etc/; gpus and kernels always come from this machine.
Device probe_device(const std::filesystem::path& root = "/");

// Equal for all agents of one machine: 16 hex digits of SHA-256 over etc/machine-id (salted: the id itself is private,
// machine-id(5)), or over the host name where that file is absent or empty.
std::string probe_host_id(const std::filesystem::path& root = "/");

void probe_cpu(const std::filesystem::path& root, Device& device);
void probe_memory(const std::filesystem::path& root, Device& device);
void probe_operating_system(const std::filesystem::path& root, Device& device);
void probe_gpus(Device& device);
void probe_kernels(Device& device);

}  // namespace quantfleet::agent
