// Names exported to Prometheus: used by the exporter and by the Grafana dashboards, so that neither drifts.
#pragma once

namespace quantfleet::metric {

inline constexpr char kUnits[] = "quantfleet_units";                          // gauge{state,kind}
inline constexpr char kAgents[] = "quantfleet_agents";                        // gauge{state}
inline constexpr char kRowsTotal[] = "quantfleet_rows_total";                 // counter{suite}
inline constexpr char kRowsRefusedTotal[] = "quantfleet_rows_refused_total";  // counter{reason}
inline constexpr char kLeasesExpiredTotal[] = "quantfleet_leases_expired_total";
inline constexpr char kAccuracyRatio[] = "quantfleet_accuracy_ratio";         // gauge{run,model,format,activations,kv,suite,area}
inline constexpr char kPrefillTokensPerSecond[] = "quantfleet_prefill_tokens_per_second";  // gauge{run,device,model,format}
inline constexpr char kDecodeTokensPerSecond[] = "quantfleet_decode_tokens_per_second";
inline constexpr char kPeakMemoryBytes[] = "quantfleet_peak_memory_bytes";
inline constexpr char kEnergyJoulesPerToken[] = "quantfleet_energy_joules_per_token";

}  // namespace quantfleet::metric
