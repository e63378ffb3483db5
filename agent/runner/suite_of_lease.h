// The suite that a lease names: from the suites' folder, or fresh twins of a built-in one, made here from the seed in the name.
#pragma once

#include "suites/suite.h"

#include <filesystem>
#include <memory>
#include <string_view>

namespace quantfleet::agent {

// Errors of find_suite; kHashMismatch where the folder's suite is not the built-in one that twins are made of.
Result<std::shared_ptr<const Suite>> suite_of_lease(const std::filesystem::path& root, std::string_view name, const SuiteOptions& options = {});

}  // namespace quantfleet::agent
