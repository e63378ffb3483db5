#include "coordinator/store/live_numbers.h"

#include "coordinator/store/sqlite/connection.h"
#include "coordinator/store/store.h"

namespace quantfleet::coordinator {

Result<LiveNumbers> read_live_numbers(const std::filesystem::path& database) {
  auto connection = sqlite::Connection::open(database.string(), true);
  if (!connection) return connection.error();
  try {
    LiveNumbers numbers;
    sqlite::Query accuracy = (*connection)->query(
        "SELECT run_id, model, format, activations, kv, suite, area, items, errors, accuracy FROM results_summary "
        "WHERE run_id IN (SELECT run_id FROM runs ORDER BY submitted_at DESC LIMIT 5)");
    while (accuracy.next()) {
      numbers.accuracy.push_back({accuracy.text(0), accuracy.text(1), accuracy.text(2), accuracy.text(3), accuracy.text(4),
                                  accuracy.text(5), accuracy.text(6), static_cast<int>(accuracy.integer(7)),
                                  static_cast<int>(accuracy.integer(8)), accuracy.number(9), !accuracy.is_null(9)});
    }
    sqlite::Query timing = (*connection)->query(
        "SELECT run_id, agent, model, format, kv, avg(prefill_tokens_per_s), avg(decode_tokens_per_s), max(peak_memory_bytes), "
        "avg(json_extract(scores, '$.energy_j_per_token')) FROM results_per_item WHERE kind = 'timing' AND error_code IS NULL "
        "AND run_id IN (SELECT run_id FROM runs ORDER BY submitted_at DESC LIMIT 5) GROUP BY run_id, agent, model, format, kv");
    while (timing.next()) {
      numbers.timing.push_back({timing.text(0), timing.text(1), timing.text(2), timing.text(3), timing.text(4), timing.number(5),
                                timing.number(6), timing.number(7), timing.number(8), !timing.is_null(8)});
    }
    return numbers;
  } catch (const StoreFailure& failure) {
    return failure.error;
  }
}

}  // namespace quantfleet::coordinator
