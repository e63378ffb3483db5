// Which program this is: recorded with every row.
#pragma once

#include <string_view>

namespace quantfleet {

std::string_view program_version();  // "0.1.0+1a2b3c4d5e6f"

}  // namespace quantfleet
