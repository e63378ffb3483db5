// File-level mixes: which weight format each tensor of a model gets under a name such as Q4_K_M. The rules are those of
// llama-quantize, so that a file made here can be compared with one made there.
// Rules, fallbacks and differences: docs/formats/mixes.md.  Tests: tests/backends/quantizers/mixes_test.cc
#pragma once

#include "backends/formats/gguf.h"
#include "contract/error.h"

#include <span>
#include <string_view>
#include <vector>

namespace quantfleet {

inline constexpr std::uint32_t kNoFileType = 0xffffffff;  // GGUF has no number for the name: general.file_type is left out

struct Mix {
  std::string_view name;           // "Q4_K_M"
  const BlockFormat* format;       // what a tensor gets when no rule says otherwise
  std::uint32_t file_type;         // GGUF's general.file_type
};

std::span<const Mix> all_mixes();
// In any case of letters; Q3_K, Q4_K and Q5_K mean their _M. nullptr when unknown.
const Mix* find_mix(std::string_view name);

// Formats that are worthless without importance, and so refused: IQ1_S, IQ2_XXS, IQ2_XS, IQ2_S; IQ1_M but for the embedding and
// the output.
bool needs_importance(const BlockFormat& format, std::string_view tensor);

// The format of every tensor of `model`, in file order. A tensor that stays as it is keeps its own format.
// Errors: kBadValue when metadata that a rule needs has the wrong type.
Result<std::vector<const BlockFormat*>> choose_formats(const GgufFile& model, const Mix& mix, bool has_importance);

}  // namespace quantfleet
