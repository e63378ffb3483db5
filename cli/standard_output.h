// What a command says on stdout must arrive: a full disk behind it is an error like any other, not a result.
#pragma once

#include "contract/error.h"

#include <string_view>

namespace quantfleet::cli {

// For long streams, which should end at the first failure. Throws BadResult.
void write_out(std::string_view text);
void flush_out();

// The rest of what was printed, at the end of the program: an error where this or something before did not arrive.
Status finish_standard_output();

}  // namespace quantfleet::cli
