// The token probes of a plan's models: made from the models' files where a run is prepared, kept and sent like them.
#pragma once

#include "contract/error.h"
#include "contract/job_spec.h"

#include <filesystem>
#include <string>
#include <vector>

namespace quantfleet::cli {

struct TokenProbesFile {
  std::string model;             // the plan's name
  std::string sha256;
  std::filesystem::path path;    // temporary: the caller's to remove
};

// One for each model that has a path; fills in its token_probes_sha256. Models by hash alone are left as they are, and so is a file that
// cannot be read: its units will say what is wrong with it.
Result<std::vector<TokenProbesFile>> write_token_probes(JobSpec& spec, const std::filesystem::path& folder);

}  // namespace quantfleet::cli
