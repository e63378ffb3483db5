// The one list of weight formats, in order of GGUF's numbers.
#include "backends/formats/catalog.h"

#include <array>

namespace quantfleet {

namespace {

constexpr std::array kFormats = {&kF32,     &kF16,    &kQ4_0,    &kQ4_1,  &kQ5_0,  &kQ5_1,  &kQ8_0,  &kQ2_K,   &kQ3_K,  &kQ4_K,
                                 &kQ5_K,    &kQ6_K,   &kIQ2_XXS, &kIQ2_XS, &kIQ3_XXS, &kIQ1_S, &kIQ4_NL, &kIQ3_S, &kIQ2_S, &kIQ4_XS,
                                 &kIQ1_M,   &kBF16,   &kTQ1_0,   &kTQ2_0, &kMXFP4, &kNVFP4, &kQ1_0,  &kQ2_0};

}  // namespace

std::span<const BlockFormat* const> all_formats() { return kFormats; }

const BlockFormat* find_format(std::string_view name) {
  for (const BlockFormat* format : kFormats)
    if (format->name == name) return format;
  return nullptr;
}

const BlockFormat* find_format(std::uint32_t ggml_type) {
  for (const BlockFormat* format : kFormats)
    if (format->ggml_type == ggml_type) return format;
  return nullptr;
}

}  // namespace quantfleet
