// A plan from a file, with the paths of its models made absolute: relative ones are looked for beside the plan, then in the
// current folder, then in the source tree or installation that the program belongs to (plans/demo.yaml's reference model).
#pragma once

#include "contract/job_spec.h"

#include <filesystem>

namespace quantfleet::cli {

Result<JobSpec> read_plan(const std::filesystem::path& plan);  // kNotFound names every place that was tried
std::filesystem::path find_shipped(const std::filesystem::path& relative);  // plans/demo.yaml of source tree or installation

}  // namespace quantfleet::cli
