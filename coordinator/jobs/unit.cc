#include "coordinator/jobs/unit.h"

namespace quantfleet::coordinator {

std::string_view name_of(const UnitState& state) {
  constexpr std::string_view kNames[] = {"blocked", "queued", "leased", "done", "failed", "cancelled"};
  return kNames[state.index()];
}

UnitState after_lost_lease(int attempts, int attempts_max, const std::string& reason) {
  if (attempts < attempts_max) return Queued{};
  return Failed{reason + " (attempt " + std::to_string(attempts) + " of " + std::to_string(attempts_max) + ")"};
}

UnitState on_tick(const UnitState& state, Time now, int attempts, int attempts_max) {
  const auto* lease = std::get_if<Leased>(&state);
  if (!lease || now < lease->expires_at) return state;
  return after_lost_lease(attempts, attempts_max, "the lease expired: no heartbeat of its agent");
}

bool is_timing(const Unit& unit) { return std::holds_alternative<TimingWork>(unit.work); }

std::string_view suite_of(const Work& work) {
  if (const auto* accuracy = std::get_if<AccuracyWork>(&work)) return accuracy->suite;
  if (const auto* reference = std::get_if<ReferenceLogitsWork>(&work)) return reference->suite;
  return {};
}

std::string model_hash_of(const Work& work) {
  return std::visit([](const auto& w) { return w.model_sha256; }, work);
}

}  // namespace quantfleet::coordinator
