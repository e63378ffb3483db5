// What an agent announces: its device, and the names and versions in its catalogues.
#pragma once

#include "agent/runner/runner_task.h"
#include "contract/messages.h"

#include <filesystem>
#include <map>
#include <string>

namespace quantfleet::agent {

// engines: servers by the names that plans use, beside our own. name, labels and artifacts are the caller's. An unreadable suite is an error that names it.
Result<Register> make_registration(const std::filesystem::path& suites_root, const std::map<std::string, ServerEngine>& engines = {});

}  // namespace quantfleet::agent
