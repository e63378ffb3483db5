// Imported suites of a plan as artifacts: what `submit` uploads and a local run keeps beside its models.
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

// Fills in bundle_sha256 and info of every suite of the plan whose items lie imported under `root`, and writes its bundle into
// `folder`. Suites that are not under `root`, or whose items come with the program, stay as they are: agents have them.
Result<std::vector<SuiteBundle>> bundle_imported_suites(JobSpec& spec, const std::filesystem::path& root, const std::filesystem::path& folder);

}  // namespace quantfleet::cli
