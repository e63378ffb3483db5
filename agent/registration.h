// What an agent announces: its device, and the names and versions in its catalogues.
#pragma once

#include "contract/messages.h"

#include <filesystem>

namespace quantfleet::agent {

// name, labels and artifacts are the caller's. An unreadable suite is an error that names it.
Result<Register> make_registration(const std::filesystem::path& suites_root);

}  // namespace quantfleet::agent
