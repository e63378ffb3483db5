// Suites of a plan that are not built in, as artifacts: what `submit` uploads and a local run keeps beside its models.
#pragma once

#include "contract/error.h"
#include "contract/job_spec.h"

#include <filesystem>
#include <string>
#include <vector>

namespace quantfleet::cli {

struct SuiteBundle {
  std::string suite, sha256;
  std::filesystem::path file;
};

// Fills in bundle_sha256 and info of every suite of the plan that lies under `root` with its items, imported or made by hand, and
// writes its bundle into `folder`. Suites that are not under `root`, and the program's own, stay as they are: agents have them.
Result<std::vector<SuiteBundle>> bundle_suites(JobSpec& spec, const std::filesystem::path& root, const std::filesystem::path& folder);

}  // namespace quantfleet::cli
