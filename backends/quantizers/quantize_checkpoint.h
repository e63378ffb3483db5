// A model in, a Hugging Face directory out, its linear layers in a quantized format (linear_quantizer.h); the embedding, the
// output matrix and vectors stay as they are. One tensor at a time; the bytes do not depend on the threads.
#pragma once

#include "backends/quantizers/quantize_model.h"

namespace quantfleet {

// Input: what open_model_file opens. What is written is decoded by the reader once more: the report's errors are those of the
// bytes.  Errors: kUnknownFormat, kUsage (OUT exists; an importance matrix that the format does not use), kNonFinite, kBadShape
// and kUnsupported with the tensor's name; kInterrupted. Nothing is left behind then.
Result<QuantizeReport> quantize_checkpoint(const std::filesystem::path& in, const std::filesystem::path& out, const QuantizeOptions& options);

}  // namespace quantfleet
