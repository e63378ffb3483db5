// Formats that need a calibration text, by name:
//   GPTQ-<bits>bit[-g<inputs per group>][-asym][-actorder]   2, 3, 4, 8 bits; without -g one scale per row; symmetric unless -asym
//   AWQ-4bit[-g<inputs per group>]                            zero points always
//   SparseGPT-<4|8>bit[-g<inputs per group>]                  two of every four inputs (sparse24), chosen and coded with error feedback
//   exl2                                                      mixed 2 to 8 bits, as many per weight as the options say
//   w8a8-static                                               int8 weights and int8 activations under calibrated scales
#pragma once

#include "contract/error.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace quantfleet {

struct CalibratedFormat {
  enum class Method { kGptq, kAwq, kInt8, kSparseGpt, kExl2 } method = Method::kGptq;
  int bits = 4;
  std::int64_t group_size = 128;   // -1: one scale per row
  bool symmetric = true;
  bool act_order = false;

  std::string name() const;        // canonical
};

// True for names that parse_calibrated_format is for, well-formed or not: those that begin with GPTQ-, AWQ- or
// SparseGPT-, exl2 and w8a8-static; in any case of letters.
bool is_calibrated_format(std::string_view name);
// Error: kUnknownFormat with the pattern that names have.
Result<CalibratedFormat> parse_calibrated_format(std::string_view name);

}  // namespace quantfleet
