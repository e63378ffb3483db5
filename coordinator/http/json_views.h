// What the API and `--json` show of runs and devices. Shapes: docs/schemas/{runs,run,devices}.json.
#pragma once

#include "contract/json_fields.h"
#include "coordinator/coordinator.h"
#include "coordinator/store/results_reader.h"

namespace quantfleet::coordinator {

using Json = fields_io::Json;

Json json_of(const RunSummary& run);
Json progress_json(const RunResults& run, double now);   // with progress per kind, share done, eta_seconds, problems
Json results_json(const RunResults& run);                // one object per row
Json json_of(const AgentStatus& agent);

}  // namespace quantfleet::coordinator
