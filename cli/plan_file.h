// A plan as a file beside its models: used by submit, run and demo.
#pragma once

#include "contract/error.h"
#include "contract/job_spec.h"

#include <filesystem>

namespace quantfleet::cli {

// Reads the YAML (or, by its ending, JSON). A path (of a model or an adapter on it, of a recipe's text or importance matrix) is looked for from the current
// folder, then from the plan's, then from the one above that; its hash is filled in, and checked where the plan gives one. A model that
// is a Hugging Face folder gets its hash from pack_model.
Result<JobSpec> read_plan(const std::filesystem::path& file);

// The model as one file: where it is one; of a Hugging Face folder an archive in `folder`, which the caller removes.
Result<std::filesystem::path> pack_model(ModelSpec& model, const std::filesystem::path& folder);

}  // namespace quantfleet::cli
