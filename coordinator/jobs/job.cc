#include "coordinator/jobs/job.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>

namespace quantfleet::coordinator {

std::string status_of(const std::map<std::string, int>& units_by_state, bool cancelled) {
  const auto count = [&](const char* state) {
    const auto found = units_by_state.find(state);
    return found == units_by_state.end() ? 0 : found->second;
  };
  const bool open = count("blocked") + count("queued") + count("leased") > 0;
  if (cancelled) return "cancelled";
  if (open) return count("leased") + count("done") + count("failed") > 0 ? "running" : "waiting";
  return count("failed") > 0 ? "failed" : "done";
}

std::string sha256_hex(std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  EVP_Digest(bytes.data(), bytes.size(), digest.data(), &length, EVP_sha256(), nullptr);
  std::string hex;
  for (unsigned i = 0; i < length; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

std::string plan_sha256(const JobSpec& spec) { return sha256_hex(canonical_json(spec)); }

void settle_night(JobSpec& spec, Time now) {
  if (!spec.twins || spec.twins->seed != 0) return;
  const std::chrono::year_month_day day{std::chrono::floor<std::chrono::days>(now)};
  spec.twins->seed = static_cast<std::uint64_t>(static_cast<int>(day.year())) * 10000 + static_cast<unsigned>(day.month()) * 100 + static_cast<unsigned>(day.day());
}

JobId make_job_id(const JobSpec& spec, Time now, std::uint64_t salt) {
  const std::chrono::year_month_day day{std::chrono::floor<std::chrono::days>(now)};
  const std::string hash =
      sha256_hex(fmt::format("{} {} {}", canonical_json(spec), now.time_since_epoch().count(), salt));
  return {fmt::format("{}-{:04}{:02}{:02}-{}", spec.name, static_cast<int>(day.year()), static_cast<unsigned>(day.month()),
                      static_cast<unsigned>(day.day()), hash.substr(0, 6))};
}

}  // namespace quantfleet::coordinator
