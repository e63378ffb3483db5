// config.json of a GGUF model: the inverse of read_config (architecture.h). What is written is read back and compared with the
// model's keys, so that a key which config.json cannot say is an error and not another model.
#pragma once

#include "backends/huggingface/architecture.h"

namespace quantfleet::huggingface {

// The architecture whose names a GGUF model gets.  Errors: kUnsupported with the names of those that have one.
Result<const HfArchitecture*> find_hf_architecture(const GgufFile& model);

// Heads and widths, which decide about the orders of rows.  Errors: those of the keys.
Result<Shape> shape_of(const GgufFile& model);

// Errors: kUnsupported with the key.
Status make_config(const GgufFile& model, const HfArchitecture& architecture, Json& config);

}  // namespace quantfleet::huggingface
