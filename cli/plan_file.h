// A plan as a file beside its models: used by submit, run and demo.
#pragma once

#include "contract/error.h"
#include "contract/job_spec.h"

#include <filesystem>

namespace quantfleet::cli {

// Reads the YAML (or, by its ending, JSON). A model's or an adapter's path is looked for from the current folder, then from the plan's,
// then from the one above that; its hash is filled in, and checked where the plan gives one.
Result<JobSpec> read_plan(const std::filesystem::path& file);

}  // namespace quantfleet::cli
