// Are this machine's numbers the expected ones? Logits digests of one model in six weight formats, with both kinds of
// activations, for a prompt of 67 tokens at once and 5 tokens one by one. Equal on every CPU that works (docs/numerics.md).
#pragma once

#include "contract/error.h"

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace quantfleet {

struct SelftestOptions {
  std::filesystem::path model;   // any format; quantized to each of the six in a temporary folder
  std::string kernels;           // "" = best of this CPU
  int threads = 1;
  std::function<void(double share)> progress;
};

struct SelftestResult {
  std::string model_sha256;
  std::string kernels;                         // family in use
  std::map<std::string, std::string> digests;  // "Q4_0/int8/prefill67", "Q4_0/int8/decode5" -> 32 hexadecimal digits
};

Result<SelftestResult> run_selftest(const SelftestOptions& options);

// The expected digests as JSON text, and back. Errors of the parser: kBadValue with what is wrong.
std::string selftest_json(const SelftestResult& result);
Result<SelftestResult> parse_selftest_json(std::string_view text);

}  // namespace quantfleet
