#include "contract/version.h"

namespace quantfleet {

std::string_view program_version() { return QUANTFLEET_VERSION "+" QUANTFLEET_COMMIT; }

}  // namespace quantfleet
