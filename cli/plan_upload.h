// The files that a plan names, to a coordinator that lacks them: models (folders as archives) with their token probes and adapters, and what
// recipes need.
#pragma once

#include "cli/coordinator_client.h"
#include "contract/job_spec.h"

namespace quantfleet::cli {

// Fills in the hashes of models that are folders, and of token probes.
Status upload_plan_files(const CoordinatorClient& client, JobSpec& spec);

}  // namespace quantfleet::cli
